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
    prepass::{self, WatermarkClause},
    text::{Lexeme, SourceText},
};

/// A statement that Postrider has.
#[derive(Debug)]
pub(crate) enum Statement {
    Table(Box<CreateTable>, Option<Box<WatermarkClause>>),
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
    let (lexemes, watermark) =
        if is_table { prepass::cut_watermark(source, lexemes)? } else { (lexemes.to_vec(), None) };
    let lexemes = prepass::plain_arguments(lexemes);
    let mut parsing = Parsing::new(source, &lexemes, end);
    let parsed = parsing.run(Parser::parse_statement)?;
    parsing.end()?;
    let statement = match parsed {
        SqlStatement::CreateTable(table) => {
            Statement::Table(Box::new(table), watermark.map(Box::new))
        }
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
    if matches!(&first.token.token, Token::Word(word) if word.keyword == Keyword::NoKeyword)
        || !matches!(first.token.token, Token::Word(_))
    {
        return Err(Diagnostic::error(codes::SYNTAX, "this is not the start of a statement")
            .at(first.range.clone())
            .hint(STATEMENTS));
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
            Some(rest) => match split_found(rest) {
                Some((wanted, "EOF")) => (
                    format!("the statement ends where {wanted} should follow"),
                    "complete the statement",
                ),
                Some((wanted, found)) => (
                    format!("expected {wanted}, found `{found}`"),
                    "check the words before it: a comma, a parenthesis or a keyword may be missing",
                ),
                None => (format!("expected {rest}"), "complete the statement"),
            },
            None => (lower_first(text), "check the statement's syntax"),
        };
        Diagnostic::error(codes::SYNTAX, message).at(range).hint(hint)
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
