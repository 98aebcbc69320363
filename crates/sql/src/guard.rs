//! Refuses texts that parser or planner could not survive, by their tokens alone.
//!
//! sqlparser limits its own recursion, but builds and drops trees as deep as a chain of operators
//! is long, and DataFusion walks those trees recursively many times.

use std::ops::Range;

use postrider_core::Diagnostic;
use sqlparser::{keywords::Keyword, tokenizer::Token};

use crate::{
    codes,
    limits::{MAX_CHAIN, MAX_JOINS, MAX_NESTING, MAX_TEXT_BYTES, MAX_TOKENS, MAX_UNIONS},
    text::{Lexeme, SourceText},
};

/// Checks the length before there are any tokens.
pub(crate) fn check_length(text: &str) -> Result<(), Diagnostic> {
    if text.len() <= MAX_TEXT_BYTES {
        return Ok(());
    }
    let message = format!("the program is {} bytes long, more than {MAX_TEXT_BYTES}", text.len());
    Err(Diagnostic::error(codes::TOO_LONG, message)
        .hint("split it into several programs, one folder or file each"))
}

/// Checks everything else.
pub(crate) fn check_tokens(source: &SourceText<'_>) -> Result<(), Diagnostic> {
    let lexemes = source.lexemes();
    if let Some(first_extra) = lexemes.get(MAX_TOKENS) {
        let message = format!("the program has {} tokens, more than {MAX_TOKENS}", lexemes.len());
        return Err(Diagnostic::error(codes::TOO_LONG, message)
            .at(first_extra.range.clone())
            .hint("split it into several programs, one folder or file each"));
    }
    let mut guard = Guard::default();
    let mut previous = None;
    for lexeme in lexemes {
        guard.step(lexeme, previous)?;
        previous = Some(lexeme);
    }
    Ok(())
}

/// What encloses the current token.
#[derive(Clone, Copy, PartialEq)]
enum Enclosure {
    Bracket,
    Case,
}

/// An enclosure, and what it interrupted.
struct Outer {
    kind: Enclosure,
    chain: usize,
    longest: usize,
}

#[derive(Default)]
struct Guard {
    enclosures: Vec<Outer>,
    /// Operators in a row up to here: those in parentheses before them are below them in the tree.
    chain: usize,
    /// The longest chain in the current enclosure.
    longest: usize,
    prefixes: usize,
    joins: usize,
    unions: usize,
}

impl Guard {
    fn step(&mut self, lexeme: &Lexeme, previous: Option<&Lexeme>) -> Result<(), Diagnostic> {
        let range = &lexeme.range;
        if is_prefix(lexeme) {
            self.prefixes += 1;
            if self.prefixes > MAX_NESTING {
                return Err(too_deep(range));
            }
        } else {
            self.prefixes = 0;
        }
        match &lexeme.token.token {
            Token::LParen | Token::LBrace => self.open(Enclosure::Bracket, range)?,
            Token::LBracket => {
                self.link(range)?;
                self.open(Enclosure::Bracket, range)?;
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                while self.enclosures.last().is_some_and(|outer| outer.kind == Enclosure::Case) {
                    self.close();
                }
                self.close();
            }
            Token::Comma => self.unchain(),
            Token::SemiColon => *self = Self::default(),
            Token::Word(word) => {
                let field = previous.is_some_and(|token| token.is(&Token::Period));
                // `a IS DISTINCT FROM b` goes on where a FROM clause would start anew.
                let distinct = word.keyword == Keyword::FROM
                    && previous.is_some_and(|token| token.is_keyword(Keyword::DISTINCT));
                if word.quote_style.is_none() && !field && !distinct {
                    self.word(word.keyword, range)?;
                }
            }
            token if is_operator(token) => self.link(range)?,
            _ => {}
        }
        Ok(())
    }

    fn word(&mut self, keyword: Keyword, range: &Range<usize>) -> Result<(), Diagnostic> {
        match keyword {
            Keyword::CASE => self.open(Enclosure::Case, range)?,
            Keyword::END
                if self.enclosures.last().is_some_and(|outer| outer.kind == Enclosure::Case) =>
            {
                self.close();
            }
            Keyword::JOIN | Keyword::APPLY => {
                self.joins += 1;
                if self.joins > MAX_JOINS {
                    return Err(too_many("JOINs", MAX_JOINS, range));
                }
            }
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => {
                self.unchain();
                self.unions += 1;
                if self.unions > MAX_UNIONS {
                    return Err(too_many("UNIONs", MAX_UNIONS, range));
                }
            }
            Keyword::SELECT
            | Keyword::FROM
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::QUALIFY
            | Keyword::PARTITION
            | Keyword::ORDER
            | Keyword::WHEN
            | Keyword::THEN
            | Keyword::ELSE
            | Keyword::VALUES => self.unchain(),
            keyword if is_operator_word(keyword) => self.link(range)?,
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, kind: Enclosure, range: &Range<usize>) -> Result<(), Diagnostic> {
        self.enclosures.push(Outer { kind, chain: self.chain, longest: self.longest });
        (self.chain, self.longest) = (0, 0);
        if self.enclosures.len() > MAX_NESTING { Err(too_deep(range)) } else { Ok(()) }
    }

    fn close(&mut self) {
        if let Some(outer) = self.enclosures.pop() {
            self.chain = outer.chain.max(self.chain).max(self.longest);
            self.longest = outer.longest;
        }
    }

    /// What follows is beside what came before, not above it.
    fn unchain(&mut self) {
        self.longest = self.longest.max(self.chain);
        self.chain = 0;
    }

    fn link(&mut self, range: &Range<usize>) -> Result<(), Diagnostic> {
        self.chain += 1;
        if self.chain <= MAX_CHAIN {
            return Ok(());
        }
        let message = format!("more than {MAX_CHAIN} operators in a row");
        Err(Diagnostic::error(codes::TOO_CHAINED, message)
            .at(range.clone())
            .hint("split the expression over subqueries, or use IN (..) for a list of values"))
    }
}

fn too_deep(range: &Range<usize>) -> Diagnostic {
    Diagnostic::error(codes::TOO_DEEP, format!("nested more than {MAX_NESTING} levels deep"))
        .at(range.clone())
        .hint("name inner parts in a WITH clause or a view")
}

fn too_many(what: &str, limit: usize, range: &Range<usize>) -> Diagnostic {
    Diagnostic::error(codes::TOO_WIDE, format!("more than {limit} {what} in one statement"))
        .at(range.clone())
        .hint("split the statement")
}

/// Tokens that parse what follows them as their operand.
fn is_prefix(lexeme: &Lexeme) -> bool {
    match &lexeme.token.token {
        Token::Plus
        | Token::Minus
        | Token::Tilde
        | Token::ExclamationMark
        | Token::DoubleExclamationMark
        | Token::AtSign
        | Token::PGSquareRoot
        | Token::PGCubeRoot => true,
        Token::Word(word) => {
            word.quote_style.is_none()
                && matches!(
                    word.keyword,
                    Keyword::NOT
                        | Keyword::INTERVAL
                        | Keyword::PRIOR
                        | Keyword::CONNECT_BY_ROOT
                        | Keyword::WITH
                        | Keyword::EXISTS
                        | Keyword::ARRAY
                )
        }
        _ => false,
    }
}

/// Punctuation that makes a tree one level deeper. Everything that is not named here separates,
/// encloses or is an operand.
fn is_operator(token: &Token) -> bool {
    !matches!(
        token,
        Token::Number(..)
            | Token::Char(_)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::Placeholder(_)
            | Token::EOF
    )
}

/// Words that do the same.
fn is_operator_word(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::AND
            | Keyword::OR
            | Keyword::XOR
            | Keyword::NOT
            | Keyword::IS
            | Keyword::IN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::SIMILAR
            | Keyword::BETWEEN
            | Keyword::COLLATE
            | Keyword::AT
            | Keyword::DIV
            | Keyword::OVERLAPS
            | Keyword::OPERATOR
            | Keyword::NOTNULL
            | Keyword::REGEXP
            | Keyword::RLIKE
            | Keyword::MATCH
            | Keyword::MEMBER
    )
}
