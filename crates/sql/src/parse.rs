//! Tokens to statements, and the parser's errors in our words.

use std::ops::Range;

use postrider_core::Diagnostic;
use sqlparser::{
    ast::{
        CreateTable, CreateView, Insert, Query, Set as SqlSet, SetExpr, Statement as SqlStatement,
    },
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Token, TokenWithSpan},
};

use crate::{
    codes,
    dialect::StreamingDialect,
    limits::PARSER_RECURSION,
    macros::{self, FunctionDefinition},
    prepass::{self, TableClauses},
    suggest,
    text::{Lexeme, SourceText},
};

/// A statement that Postrider has.
#[derive(Debug)]
pub(crate) enum Statement {
    Table(Box<CreateTable>, Box<TableClauses>),
    View(Box<CreateView>),
    Function(Box<FunctionDefinition>),
    Insert(Box<Insert>),
    Select(Box<Query>),
    Set(Box<SqlSet>),
}

/// A statement and its bytes.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) statement: Statement,
    pub(crate) range: Range<usize>,
}

/// As many words as `CREATE OR REPLACE TEMPORARY TABLE` has.
const CREATE_WORDS: usize = 5;

/// What a statement may begin with.
const FIRST_WORDS: [&str; 5] = ["CREATE", "INSERT", "SELECT", "SET", "WITH"];

const STATEMENTS: &str = "a program consists of CREATE TABLE, CREATE VIEW, CREATE FUNCTION, INSERT INTO .. SELECT, SELECT and SET statements";

/// Parses one statement.
///
/// # Errors
/// It is malformed, or none of [`Statement`].
pub(crate) fn statement(
    source: &SourceText<'_>,
    lexemes: &[Lexeme],
) -> Result<Located, Diagnostic> {
    let start = lexemes.first().map_or(0, |lexeme| lexeme.range.start);
    let end = lexemes.last().map_or(start, |lexeme| lexeme.range.end);
    check_kind(lexemes)?;
    if is_function(lexemes) {
        let function = macros::parse(source, lexemes, end)?;
        return Ok(Located {
            statement: Statement::Function(Box::new(function)),
            range: start..end,
        });
    }
    let is_table = lexemes.first().is_some_and(|lexeme| lexeme.is_keyword(Keyword::CREATE))
        && lexemes.iter().take(CREATE_WORDS).any(|lexeme| lexeme.is_keyword(Keyword::TABLE));
    let (lexemes, clauses) = if is_table {
        prepass::cut_clauses(source, lexemes)?
    } else {
        (lexemes.to_vec(), TableClauses::default())
    };
    let lexemes = prepass::plain_arguments(lexemes);
    let mut parsing = Parsing::new(source, &lexemes, end);
    let parsed = parsing.run(Parser::parse_statement)?;
    parsing.end()?;
    let statement = match parsed {
        SqlStatement::CreateTable(table) => Statement::Table(Box::new(table), Box::new(clauses)),
        SqlStatement::CreateView(view) => Statement::View(Box::new(view)),
        SqlStatement::Insert(insert) => Statement::Insert(Box::new(insert)),
        SqlStatement::Set(set) => Statement::Set(Box::new(set)),
        SqlStatement::Query(query) => match query.body.as_ref() {
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                return Err(unsupported(start..end)
                    .hint("put WITH behind INSERT INTO: INSERT INTO t WITH a AS (..) SELECT .."));
            }
            _ => Statement::Select(query),
        },
        _ => return Err(unsupported(start..end)),
    };
    Ok(Located { statement, range: start..end })
}

fn is_function(lexemes: &[Lexeme]) -> bool {
    let keyword = |index: usize, keyword| {
        lexemes.get(index).is_some_and(|lexeme: &Lexeme| lexeme.is_keyword(keyword))
    };
    keyword(0, Keyword::CREATE) && keyword(1, Keyword::FUNCTION)
}

/// Refuses statements by their first words: most of what the parser knows is never wanted here.
fn check_kind(lexemes: &[Lexeme]) -> Result<(), Diagnostic> {
    let Some(first) = lexemes.first() else { return Ok(()) };
    let second = lexemes.get(1);
    let starts_query = first.is_keyword(Keyword::SELECT)
        || first.is_keyword(Keyword::WITH)
        || first.is(&Token::LParen);
    let external = lexemes.iter().take(CREATE_WORDS).find(|lexeme| lexeme.is_word("EXTERNAL"));
    if let Some(external) = external.filter(|_| first.is_keyword(Keyword::CREATE)) {
        return Err(unsupported(first.range.start..external.range.end)
            .hint("write CREATE TABLE name (..) WITH (connector = 'single_file', path = '..')"));
    }
    let known = starts_query
        || first.is_keyword(Keyword::INSERT)
        || first.is_keyword(Keyword::SET)
        || is_function(lexemes)
        || first.is_keyword(Keyword::CREATE)
            && lexemes.iter().take(CREATE_WORDS).any(|lexeme| {
                lexeme.is_keyword(Keyword::TABLE) || lexeme.is_keyword(Keyword::VIEW)
            });
    if known {
        return Ok(());
    }
    let word = match &first.token.token {
        Token::Word(word) => Some(word),
        _ => None,
    };
    if word.is_none_or(|word| word.keyword == Keyword::NoKeyword) {
        let meant = word.and_then(|word| suggest::nearest(&word.value, FIRST_WORDS));
        let hint =
            meant.map_or_else(|| STATEMENTS.to_owned(), |meant| format!("did you mean {meant}?"));
        return Err(Diagnostic::error(codes::SYNTAX, "this is not the start of a statement")
            .at(first.range.clone())
            .hint(hint));
    }
    let made = second.and_then(|second| match &second.token.token {
        Token::Word(word) if first.is_keyword(Keyword::CREATE) => Some(word.value.to_lowercase()),
        _ => None,
    });
    if let (Some("sink" | "source" | "stream"), Some(second)) = (made.as_deref(), second) {
        return Err(unsupported(first.range.start..second.range.end)
            .hint("sources and sinks are tables: CREATE TABLE name (..) WITH (connector = '..')"));
    }
    let end = match second {
        Some(second) if matches!(second.token.token, Token::Word(_)) => second.range.end,
        _ => first.range.end,
    };
    Err(unsupported(first.range.start..end))
}

fn unsupported(range: Range<usize>) -> Diagnostic {
    Diagnostic::error(codes::UNSUPPORTED, "this statement is not supported")
        .at(range)
        .hint(STATEMENTS)
}

/// A parser over some tokens, whose errors are diagnostics.
pub(crate) struct Parsing<'s, 'a> {
    source: &'s SourceText<'a>,
    parser: Parser<'static>,
    end: usize,
}

impl<'s, 'a> Parsing<'s, 'a> {
    /// Parses `lexemes`; what is missing is missing at byte `end`.
    pub(crate) fn new(source: &'s SourceText<'a>, lexemes: &[Lexeme], end: usize) -> Self {
        Self::of_tokens(source, prepass::tokens(lexemes), end)
    }

    /// The same for tokens that are placed anew.
    pub(crate) fn of_tokens(
        source: &'s SourceText<'a>,
        tokens: Vec<TokenWithSpan>,
        end: usize,
    ) -> Self {
        let parser = Parser::new(&StreamingDialect)
            .with_recursion_limit(PARSER_RECURSION)
            .with_tokens_with_locations(tokens);
        Self { source, parser, end }
    }

    /// Parses something.
    pub(crate) fn run<T>(
        &mut self,
        parse: impl FnOnce(&mut Parser<'static>) -> Result<T, ParserError>,
    ) -> Result<T, Diagnostic> {
        parse(&mut self.parser).map_err(|error| self.reword(&error))
    }

    /// Nothing may be left.
    pub(crate) fn end(&mut self) -> Result<(), Diagnostic> {
        let next = self.parser.peek_token();
        if next.token == Token::EOF {
            return Ok(());
        }
        let range = self.source.range(next.span);
        Err(Diagnostic::error(codes::SYNTAX, format!("`{}` can't stand here", next.token))
            .at_option(range)
            .hint("is a comma, an operator or a semicolon missing before it?"))
    }

    /// The token that the parser found: at `start`, or just before if it had been taken already.
    fn found(&self, start: usize, text: &str) -> Range<usize> {
        let index = self.source.index_at(start);
        let lexemes = self.source.lexemes();
        let at = |index: usize| {
            lexemes.get(index).filter(|lexeme| lexeme.token.token.to_string() == text)
        };
        at(index)
            .or_else(|| at(index.checked_sub(1)?))
            .or_else(|| lexemes.get(index))
            .map_or(start..start, |lexeme| lexeme.range.clone())
    }

    /// `Expected: a, found: b at Line: 1, Column: 2` in our words.
    fn reword(&self, error: &ParserError) -> Diagnostic {
        let message = match error {
            ParserError::RecursionLimitExceeded => {
                return Diagnostic::error(codes::TOO_DEEP, "the statement is nested too deep")
                    .at(self.end..self.end)
                    .hint("name inner parts in a WITH clause or a view");
            }
            ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
        };
        let (text, place) = split_place(message);
        let range = match place {
            Some((line, column)) if line > 0 => {
                let start = self.source.offset(line, column);
                self.found(start, split_found(text).map_or("", |(_, found)| found))
            }
            _ => self.end..self.end,
        };
        let rest = text.strip_prefix("Expected: ").or_else(|| text.strip_prefix("Expected "));
        let (message, hint) = match rest {
            Some(rest) => {
                match split_found(rest).map(|(wanted, found)| (in_words(wanted), found)) {
                    Some((wanted, "EOF")) => (
                        format!("the statement ends where {wanted} should follow"),
                        "complete the statement",
                    ),
                    Some((wanted, found)) => (
                        format!("expected {wanted}, found `{found}`"),
                        "check the words before it: a comma, a parenthesis or a keyword may be missing",
                    ),
                    None => (format!("expected {rest}"), "complete the statement"),
                }
            }
            None => (lower_first(text), "check the statement's syntax"),
        };
        Diagnostic::error(codes::SYNTAX, message).at(range).hint(hint)
    }
}

/// What the parser waits for, in words that are not its own.
fn in_words(wanted: &str) -> String {
    match wanted {
        "identifier" => "a name".to_owned(),
        "column name or constraint definition" => "another column".to_owned(),
        sign if sign.len() <= 2 => format!("`{sign}`"),
        wanted => wanted.strip_suffix(" after column definition").unwrap_or(wanted).to_owned(),
    }
}

fn split_found(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once(", found: ").or_else(|| text.rsplit_once(", found "))
}

fn split_place(message: &str) -> (&str, Option<(u64, u64)>) {
    let Some((text, place)) = message.rsplit_once(" at Line: ") else { return (message, None) };
    let numbers = place
        .split_once(", Column: ")
        .and_then(|(line, column)| Some((line.trim().parse().ok()?, column.trim().parse().ok()?)));
    (text, numbers)
}

/// A message as the middle of a sentence.
pub(crate) fn lower_first(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}
