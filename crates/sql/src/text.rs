//! The program's text as tokens with byte ranges, and ways to find a place in it.

use std::ops::Range;

use postrider_core::Diagnostic;
use sqlparser::{
    keywords::Keyword,
    tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer},
};

use crate::{codes, dialect::StreamingDialect};

/// One token and its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Lexeme {
    pub(crate) token: TokenWithSpan,
    pub(crate) range: Range<usize>,
}

impl Lexeme {
    pub(crate) fn is(&self, token: &Token) -> bool {
        self.token.token == *token
    }

    /// Whether it is this keyword, unquoted.
    pub(crate) fn is_keyword(&self, keyword: Keyword) -> bool {
        matches!(&self.token.token, Token::Word(word) if word.keyword == keyword)
    }

    /// Whether it is this word, unquoted, in any case.
    pub(crate) fn is_word(&self, text: &str) -> bool {
        matches!(&self.token.token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
    }

    fn opens(&self) -> bool {
        matches!(self.token.token, Token::LParen | Token::LBracket | Token::LBrace)
    }

    fn closes(&self) -> bool {
        matches!(self.token.token, Token::RParen | Token::RBracket | Token::RBrace)
    }
}

/// A `?` alone is JSON's operator: there are no values to bind. The tokenizer reads it so for dialects with geometry only.
fn operator(mut token: TokenWithSpan) -> TokenWithSpan {
    if matches!(&token.token, Token::Placeholder(name) if name == "?") {
        token.token = Token::Question;
    }
    token
}

/// A program's text and its tokens; comments and white space are left out.
#[derive(Debug)]
pub(crate) struct SourceText<'a> {
    text: &'a str,
    /// The byte at which each character starts, and the end: places come as lines and columns of
    /// characters, and looking one up must not depend on the length of the line.
    char_starts: Vec<usize>,
    /// The character that starts each line.
    line_starts: Vec<usize>,
    lexemes: Vec<Lexeme>,
}

impl<'a> SourceText<'a> {
    pub(crate) fn lex(text: &'a str) -> Result<Self, Diagnostic> {
        let ends = std::iter::once(text.len());
        let char_starts = text.char_indices().map(|(at, _)| at).chain(ends).collect();
        let newlines = text.chars().enumerate().filter(|(_, character)| *character == '\n');
        let line_starts = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        let mut source = Self { text, char_starts, line_starts, lexemes: Vec::new() };
        let tokens = Tokenizer::new(&StreamingDialect, text)
            .tokenize_with_location()
            .map_err(|error| source.bad_token(&error.message, error.location))?;
        source.lexemes = tokens
            .into_iter()
            .filter(|token| !matches!(token.token, Token::Whitespace(_)))
            .map(|token| Lexeme { range: source.bytes(token.span), token: operator(token) })
            .collect();
        Ok(source)
    }

    /// The whole text.
    pub(crate) const fn everything(&self) -> Range<usize> {
        0..self.text.len()
    }

    pub(crate) fn lexemes(&self) -> &[Lexeme] {
        &self.lexemes
    }

    /// The byte at a line and column, which count characters from 1.
    pub(crate) fn offset(&self, line: u64, column: u64) -> usize {
        let line = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
        let Some(start) = self.line_starts.get(line) else { return self.text.len() };
        let column = usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1);
        let byte = self.char_starts.get(start.saturating_add(column));
        byte.copied().unwrap_or(self.text.len())
    }

    /// The bytes of a span of the parser; `None` if the parser didn't know it.
    pub(crate) fn range(&self, span: Span) -> Option<Range<usize>> {
        (span.start.line > 0).then(|| self.bytes(span))
    }

    /// The bytes of a span of an expression, drawn out to close the parentheses it opens: the
    /// parser's span of a call ends with its last argument.
    pub(crate) fn balanced(&self, span: Span) -> Option<Range<usize>> {
        let range = self.range(span)?;
        let mut open = 0_usize;
        let mut end = range.end;
        let mut after_word = false;
        for lexeme in self.lexemes.iter().skip(self.index_at(range.start)) {
            let starts_arguments = after_word && end == range.end && lexeme.is(&Token::LParen);
            if lexeme.range.start >= end && open == 0 && !starts_arguments {
                break;
            }
            if lexeme.opens() {
                open += 1;
            } else if lexeme.closes() {
                open = open.saturating_sub(1);
            }
            end = end.max(lexeme.range.end);
            after_word = matches!(lexeme.token.token, Token::Word(_));
        }
        Some(range.start..end)
    }

    /// From the nearest `keyword` before `range` to its end.
    pub(crate) fn since_keyword(&self, keyword: Keyword, range: Range<usize>) -> Range<usize> {
        let before = self.index_at(range.start);
        let found = self.lexemes.iter().take(before).rfind(|lexeme| lexeme.is_keyword(keyword));
        found.map_or(range.start, |lexeme| lexeme.range.start)..range.end
    }

    /// The first `keyword` at or after a byte.
    pub(crate) fn keyword_after(&self, keyword: Keyword, from: usize) -> Option<Range<usize>> {
        let found = self.lexemes.iter().skip(self.index_at(from)).find(|l| l.is_keyword(keyword));
        found.map(|lexeme| lexeme.range.clone())
    }

    /// The last `keyword` that begins before a byte.
    pub(crate) fn keyword_before(&self, keyword: Keyword, until: usize) -> Option<Range<usize>> {
        let before = self.lexemes.partition_point(|lexeme| lexeme.range.start < until);
        let found = self.lexemes[..before].iter().rev().find(|l| l.is_keyword(keyword));
        found.map(|lexeme| lexeme.range.clone())
    }

    /// `KEYWORD (..)` within `within`, if it stands there once.
    pub(crate) fn only_call(
        &self,
        keyword: Keyword,
        within: &Range<usize>,
    ) -> Option<Range<usize>> {
        let first = self.index_at(within.start);
        let inside = self.lexemes.iter().skip(first);
        let mut found = inside
            .take_while(|lexeme| lexeme.range.end <= within.end)
            .filter(|lexeme| lexeme.is_keyword(keyword));
        let only = found.next().filter(|_| found.next().is_none())?;
        self.balanced(only.token.span)
    }

    /// From a byte to the end of the list item or option that starts there.
    pub(crate) fn item(&self, start: usize) -> Range<usize> {
        let mut open = 0_usize;
        let mut end = start;
        for lexeme in self.lexemes.iter().skip(self.index_at(start)) {
            if open == 0 && (lexeme.is(&Token::Comma) || lexeme.closes()) {
                break;
            }
            if lexeme.opens() {
                open += 1;
            } else if lexeme.closes() {
                open = open.saturating_sub(1);
            }
            end = lexeme.range.end;
        }
        start..end
    }

    /// Where a name stands within `within`, quoted or not, in any case.
    pub(crate) fn find_name(&self, name: &str, within: &Range<usize>) -> Option<Range<usize>> {
        self.find_names(name, within).into_iter().next()
    }

    /// Whether the call whose name stands at `name` has this token among its arguments.
    pub(crate) fn call_has(&self, name: &Range<usize>, token: &str) -> bool {
        let mut open = 0_usize;
        for lexeme in self.lexemes.iter().skip(self.index_at(name.end)) {
            if lexeme.opens() {
                open += 1;
            } else if lexeme.closes() {
                open = open.saturating_sub(1);
            }
            if open == 0 {
                return false;
            }
            if lexeme.token.token.to_string() == token {
                return true;
            }
        }
        false
    }

    /// The call of a window function whose name stands at `name`, with its OVER; `None` if it has none.
    pub(crate) fn with_over(&self, name: &Range<usize>) -> Option<Range<usize>> {
        let mut open = 0_usize;
        let mut over = false;
        for lexeme in self.lexemes.iter().skip(self.index_at(name.end)) {
            if lexeme.opens() {
                open += 1;
            } else if lexeme.closes() {
                open = open.checked_sub(1)?;
            }
            if open > 0 {
                continue;
            }
            if over {
                return Some(name.start..lexeme.range.end);
            }
            over = lexeme.is_keyword(Keyword::OVER);
            // FILTER (..) and IGNORE NULLS stand between.
            if !lexeme.closes() && !matches!(lexeme.token.token, Token::Word(_)) {
                return None;
            }
        }
        None
    }

    /// Whether the text has `VIEW name` or `TABLE name AS` anywhere.
    pub(crate) fn declares_view(&self, name: &str) -> bool {
        self.find_names(name, &(0..usize::MAX)).into_iter().any(|range| {
            let behind = self.lexemes.get(self.index_at(range.end));
            let names_query = behind.is_some_and(|lexeme| lexeme.is_keyword(Keyword::AS));
            self.before(&range).is_some_and(|lexeme| {
                lexeme.is_keyword(Keyword::VIEW) || lexeme.is_keyword(Keyword::TABLE) && names_query
            })
        })
    }

    /// The token in front of one.
    fn before(&self, range: &Range<usize>) -> Option<&Lexeme> {
        self.lexemes.get(self.index_at(range.start).checked_sub(1)?)
    }

    /// Whether a name is given with `AS name` within `within`.
    pub(crate) fn names_result(&self, name: &str, within: &Range<usize>) -> bool {
        self.find_names(name, within)
            .into_iter()
            .any(|range| self.before(&range).is_some_and(|lexeme| lexeme.is_keyword(Keyword::AS)))
    }

    /// Where a text in quotes first stands within `within`.
    pub(crate) fn find_text(&self, text: &str, within: &Range<usize>) -> Option<Range<usize>> {
        let inside = self.lexemes.iter().skip(self.index_at(within.start));
        let mut inside = inside.take_while(|lexeme| lexeme.range.end <= within.end);
        let found = inside.find(|lexeme| {
            matches!(&lexeme.token.token, Token::SingleQuotedString(found) if found == text)
        });
        found.map(|lexeme| lexeme.range.clone())
    }

    /// Everywhere that a name stands.
    pub(crate) fn find_names(&self, name: &str, within: &Range<usize>) -> Vec<Range<usize>> {
        // A text has many statements, and each asks for many names: only its own tokens are looked at.
        let first = self.lexemes.partition_point(|lexeme| lexeme.range.start < within.start);
        let inside = self.lexemes[first..].iter();
        let inside = inside.take_while(|lexeme| lexeme.range.end <= within.end);
        let found = inside.filter(|lexeme| {
            matches!(&lexeme.token.token, Token::Word(word)
                if word.value.eq_ignore_ascii_case(name))
        });
        found.map(|lexeme| lexeme.range.clone()).collect()
    }

    /// Index of the first token that ends behind a byte.
    pub(crate) fn index_at(&self, byte: usize) -> usize {
        self.lexemes.partition_point(|lexeme| lexeme.range.end <= byte)
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        self.offset(span.start.line, span.start.column)..self.offset(span.end.line, span.end.column)
    }

    fn bad_token(&self, message: &str, location: Location) -> Diagnostic {
        let start = self.offset(location.line, location.column);
        let end = self.text[start..].chars().next().map_or(start, |c| start + c.len_utf8());
        let mut message = message.trim().trim_end_matches('.').to_owned();
        if let Some(first) = message.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        Diagnostic::error(codes::BAD_TOKEN, format!("the text can't be read here: {message}"))
            .at(start..end)
            .hint("close the quote or comment that starts here, or remove the character")
    }
}
