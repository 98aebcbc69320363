//! What the parser does not know: statements are split here, `WATERMARK FOR` and `METADATA FROM` are cut out of
//! `CREATE TABLE` before the parser sees it, and so is what only the arguments of a window table function have.

use std::{iter::Peekable, ops::Range, vec::IntoIter};

use postrider_core::Diagnostic;
use sqlparser::{
    ast::{Expr, Ident},
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan},
};

use crate::{
    codes,
    functions::is_window,
    parse::Parsing,
    text::{Lexeme, SourceText},
};

/// `WATERMARK FOR column [AS expr]`.
#[derive(Debug, Clone)]
pub(crate) struct WatermarkClause {
    pub(crate) column: Ident,
    pub(crate) expr: Option<Expr>,
    pub(crate) range: Range<usize>,
}

/// `METADATA [FROM 'key']` of a column.
#[derive(Debug, Clone)]
pub(crate) struct MetadataClause {
    /// Where the column's name begins.
    pub(crate) column: usize,
    /// What it tells; the column's name if nothing is said.
    pub(crate) key: Option<String>,
    pub(crate) range: Range<usize>,
}

/// What the parser of `CREATE TABLE` does not know.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableClauses {
    pub(crate) watermark: Option<WatermarkClause>,
    pub(crate) metadata: Vec<MetadataClause>,
}

/// Splits at semicolons; empty statements vanish.
pub(crate) fn split<'t>(source: &'t SourceText<'_>) -> Vec<&'t [Lexeme]> {
    source
        .lexemes()
        .split(|lexeme| lexeme.is(&Token::SemiColon))
        .filter(|statement| !statement.is_empty())
        .collect()
}

/// The tokens of a statement for the parser. Words with which other dialects ask for the version of a table are names.
pub(crate) fn tokens(lexemes: &[Lexeme]) -> Vec<TokenWithSpan> {
    let mut tokens: Vec<_> = lexemes.iter().map(|lexeme| lexeme.token.clone()).collect();
    for (index, token) in tokens.iter_mut().enumerate() {
        let Token::Word(word) = &mut token.token else { continue };
        let is_name = match word.keyword {
            Keyword::BEFORE | Keyword::CHANGES | Keyword::VERSION => true,
            // `AT TIME ZONE` is an operator.
            Keyword::AT => !lexemes.get(index + 1).is_some_and(|next| next.is_word("TIME")),
            _ => false,
        };
        if is_name {
            word.keyword = Keyword::NoKeyword;
        }
    }
    tokens
}

/// Cuts the watermark out of a `CREATE TABLE`, with one of the commas around it, and what columns say about metadata.
///
/// # Errors
/// There is more than one watermark, or a clause is malformed.
pub(crate) fn cut_clauses(
    source: &SourceText<'_>,
    statement: &[Lexeme],
) -> Result<(Vec<Lexeme>, TableClauses), Diagnostic> {
    let mut rest = Vec::with_capacity(statement.len());
    let mut clause: Option<WatermarkClause> = None;
    let mut metadata = Vec::new();
    let mut depth = 0_usize;
    let (mut index, mut item) = (0, 0);
    while let Some(lexeme) = statement.get(index) {
        if depth == 1 && starts_clause(statement, index) {
            let end = item_end(statement, index);
            let tokens = statement.get(index..end).unwrap_or_default();
            let parsed = parse_clause(source, tokens)?;
            if clause.is_some() {
                return Err(Diagnostic::error(
                    codes::BAD_WATERMARK,
                    "a table has at most one WATERMARK FOR",
                )
                .at(parsed.range)
                .hint("remove one of them"));
            }
            clause = Some(parsed);
            index = end;
            let at_comma = statement.get(index).is_some_and(|l| l.is(&Token::Comma));
            if rest.last().is_some_and(|l: &Lexeme| l.is(&Token::Comma)) {
                rest.pop();
            } else if at_comma {
                index += 1;
            }
            continue;
        }
        let opens = lexeme.is(&Token::LParen);
        if depth == 1 && lexeme.is_word("METADATA") && index > item + 1 {
            let (found, words) = metadata_clause(statement, item, index)?;
            metadata.push(found);
            index += words;
            continue;
        }
        match lexeme.token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 1 && (opens || lexeme.is(&Token::Comma)) {
            item = index + 1;
        }
        rest.push(lexeme.clone());
        index += 1;
    }
    Ok((rest, TableClauses { watermark: clause, metadata }))
}

/// `METADATA FROM 'key'` at `index`, in the column that begins at `item`, and how many words it has. As in Flink, the key may be left out,
/// which is the column's name then, and VIRTUAL may follow.
fn metadata_clause(
    statement: &[Lexeme],
    item: usize,
    index: usize,
) -> Result<(MetadataClause, usize), Diagnostic> {
    let lexeme = |at: usize| statement.get(at);
    let column = lexeme(item).map_or(0, |column| column.range.start);
    let start = lexeme(index).map_or(0, |word| word.range.start);
    let (key, mut words) = if lexeme(index + 1).is_some_and(|word| word.is_word("FROM")) {
        let key = lexeme(index + 2);
        let Some(Token::SingleQuotedString(text)) = key.map(|key| &key.token.token) else {
            let place = key.map_or(start..start, |word| word.range.clone());
            let message = "METADATA FROM takes the name of what is told, in quotes";
            return Err(Diagnostic::error(codes::BAD_METADATA, message)
                .at(place)
                .hint("such as received_at TIMESTAMP METADATA FROM 'received_at'"));
        };
        (Some(text.clone()), 3)
    } else {
        (None, 1)
    };
    if lexeme(index + words).is_some_and(|word| word.is_word("VIRTUAL")) {
        words += 1;
    }
    let end = lexeme(index + words - 1).map_or(start, |word| word.range.end);
    Ok((MetadataClause { column, key, range: start..end }, words))
}

fn starts_clause(statement: &[Lexeme], index: usize) -> bool {
    let word = |offset: usize, text| {
        statement.get(index + offset).is_some_and(|l: &Lexeme| l.is_word(text))
    };
    let starts_item = index
        .checked_sub(1)
        .and_then(|at| statement.get(at))
        .is_some_and(|l| l.is(&Token::Comma) || l.is(&Token::LParen));
    starts_item && word(0, "WATERMARK") && word(1, "FOR")
}

fn item_end(statement: &[Lexeme], start: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, lexeme) in statement.iter().enumerate().skip(start) {
        match lexeme.token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return offset,
            Token::RParen => depth -= 1,
            Token::Comma if depth == 0 => return offset,
            _ => {}
        }
    }
    statement.len()
}

fn parse_clause(
    source: &SourceText<'_>,
    lexemes: &[Lexeme],
) -> Result<WatermarkClause, Diagnostic> {
    let start = lexemes.first().map_or(0, |lexeme| lexeme.range.start);
    let end = lexemes.last().map_or(start, |lexeme| lexeme.range.end);
    let mut parsing = Parsing::new(source, lexemes.get(2..).unwrap_or_default(), end);
    let column = parsing.run(|parser| parser.parse_identifier())?;
    let expr = parsing.run(|parser| {
        if parser.parse_keyword(Keyword::AS) { parser.parse_expr().map(Some) } else { Ok(None) }
    })?;
    parsing.end()?;
    Ok(WatermarkClause { column, expr, range: start..end })
}

/// Makes the arguments of window table functions expressions: of `SESSION(TABLE t PARTITION BY k, ..)` the parser sees
/// `SESSION(t, partition_by(k), ..)`. Every token keeps its place.
pub(crate) fn plain_arguments(statement: Vec<Lexeme>) -> Vec<Lexeme> {
    let mut rest: Vec<Lexeme> = Vec::with_capacity(statement.len());
    // Whether each open parenthesis is that of a window function.
    let mut open: Vec<bool> = Vec::new();
    let mut lexemes = statement.into_iter().peekable();
    while let Some(lexeme) = lexemes.next() {
        let inside = open.last() == Some(&true);
        if inside && lexeme.is_word("TABLE") {
            continue;
        }
        let partitions = inside && lexeme.is_word("PARTITION");
        if partitions && lexemes.next_if(|next| next.is_word("BY")).is_some() {
            partition_argument(&lexeme, &mut lexemes, &mut rest);
            continue;
        }
        match lexeme.token.token {
            Token::LParen => open.push(rest.last().is_some_and(names_window)),
            Token::RParen => drop(open.pop()),
            _ => {}
        }
        rest.push(lexeme);
    }
    rest
}

/// `, partition_by(k)` in place of ` PARTITION BY k`, up to the next argument; parentheses around the columns stay.
fn partition_argument(
    partition: &Lexeme,
    lexemes: &mut Peekable<IntoIter<Lexeme>>,
    rest: &mut Vec<Lexeme>,
) {
    let instead = |token: Token| Lexeme {
        token: TokenWithSpan { token, span: partition.token.span },
        range: partition.range.clone(),
    };
    rest.extend([Token::Comma, Token::make_word("partition_by", None)].map(instead));
    if lexemes.peek().is_some_and(|next| next.is(&Token::LParen)) {
        return;
    }
    rest.push(instead(Token::LParen));
    let ends = |next: &Lexeme| next.is(&Token::Comma) || next.is(&Token::RParen);
    while let Some(column) = lexemes.next_if(|next| !ends(next)) {
        rest.push(column);
    }
    rest.push(instead(Token::RParen));
}

fn names_window(lexeme: &Lexeme) -> bool {
    matches!(&lexeme.token.token, Token::Word(word)
        if word.quote_style.is_none() && is_window(&word.value.to_lowercase()))
}

/// The lower-case name that a `CREATE` would declare, for a statement that could not be parsed.
pub(crate) fn declared_name(statement: &[Lexeme]) -> Option<String> {
    if !statement.first()?.is_keyword(Keyword::CREATE) {
        return None;
    }
    let kinds = [Keyword::TABLE, Keyword::VIEW, Keyword::FUNCTION];
    let kind =
        statement.iter().position(|lexeme| kinds.iter().any(|kind| lexeme.is_keyword(*kind)))?;
    match &statement.get(kind + 1)?.token.token {
        Token::Word(word) => Some(word.value.to_lowercase()),
        _ => None,
    }
}
