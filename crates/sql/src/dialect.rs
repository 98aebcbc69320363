//! The dialect that sqlparser is asked for.

use sqlparser::{
    ast::Expr,
    dialect::{Dialect, PostgreSqlDialect, Precedence},
    keywords::Keyword,
    parser::{Parser, ParserError},
};

/// Postgres' names, literals and precedence, with `STRUCT<..>` types, arrays and virtual
/// generated columns; without Postgres' own statements, custom operators and geometry.
#[derive(Debug)]
pub(crate) struct StreamingDialect;

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

impl Dialect for StreamingDialect {
    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRES.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        POSTGRES.get_next_precedence(parser)
    }

    fn prec_value(&self, prec: Precedence) -> u8 {
        POSTGRES.prec_value(prec)
    }

    /// `a IS DISTINCT FROM b AND c` is `(a IS DISTINCT FROM b) AND c`; left to itself, the parser takes all that follows for what
    /// `a` is compared with.
    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        left: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        let is = parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]);
        let kinds = [Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM];
        if !is && !parser.parse_keywords(&kinds) {
            return None;
        }
        let distinct = if is { Expr::IsDistinctFrom } else { Expr::IsNotDistinctFrom };
        let right = parser.parse_subexpr(precedence);
        Some(right.map(|right| distinct(Box::new(left.clone()), Box::new(right))))
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_struct_literal(&self) -> bool {
        true
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }

    fn supports_string_escape_constant(&self) -> bool {
        true
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    fn supports_numeric_literal_underscores(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_within_after_array_aggregation(&self) -> bool {
        true
    }

    /// For `FOR SYSTEM_TIME AS OF`. What else the parser then takes for a version, [`crate::prepass`] tells it is a name.
    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn allow_extract_single_quotes(&self) -> bool {
        true
    }
}
