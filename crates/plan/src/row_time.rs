//! `row_time()`: the event time of a row, which is in no column.

use datafusion::{
    arrow::datatypes::{DataType, Field, FieldRef, TimeUnit},
    common::{
        Result, exec_err,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
        Volatility,
    },
};

/// A placeholder: whoever runs a plan knows the time beside each row and puts it in the place of the call. It is volatile, so that no
/// rule computes or merges it before.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RowTime {
    signature: Signature,
}

impl RowTime {
    /// Its name in SQL.
    pub const NAME: &'static str = "row_time";

    /// The function.
    #[must_use]
    pub fn new() -> Self {
        Self { signature: Signature::nullary(Volatility::Volatile) }
    }

    /// The type of its result, which is never NULL.
    #[must_use]
    pub const fn data_type() -> DataType {
        DataType::Timestamp(TimeUnit::Nanosecond, None)
    }

    /// Whether an expression reads the time of its row.
    #[must_use]
    pub fn is_in(expr: &Expr) -> bool {
        // No step fails.
        expr.exists(|part| Ok(Self::is(part))).unwrap_or(false)
    }

    /// The expression with `time` for each call.
    ///
    /// # Errors
    /// None that is known: no step fails.
    pub fn replace(expr: Expr, time: &Expr) -> Result<Expr> {
        let replaced = expr.transform_up(|part| {
            Ok(if Self::is(&part) { Transformed::yes(time.clone()) } else { Transformed::no(part) })
        })?;
        Ok(replaced.data)
    }

    fn is(expr: &Expr) -> bool {
        matches!(expr, Expr::ScalarFunction(call) if call.func.inner().is::<Self>())
    }
}

impl Default for RowTime {
    fn default() -> Self {
        Self::new()
    }
}

impl ScalarUDFImpl for RowTime {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(Self::data_type())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Field::new(Self::NAME, Self::data_type(), false).into())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!(
            "these rows have no event time: name it where the table is read, SELECT row_time() AS time FROM table"
        )
    }
}
