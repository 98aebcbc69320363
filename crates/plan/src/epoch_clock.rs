//! `now()` and its kin: the clock of the epoch in which an expression is computed.

use datafusion::{
    arrow::datatypes::{DataType, Field, FieldRef, TimeUnit},
    common::{
        Result, exec_err,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
        Volatility, cast,
    },
};

use crate::RowTime;

/// A placeholder: whoever runs a plan knows the reading of the clock and puts it in the place of the call. It is volatile, so that no
/// rule makes a constant of it when the program is planned.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct EpochClock {
    name: &'static str,
    aliases: Vec<String>,
    signature: Signature,
}

impl EpochClock {
    /// `now()`, `current_date()` and `current_time()`, each with its other names.
    pub fn all() -> impl Iterator<Item = Self> {
        let names = [
            ("now", ["current_timestamp", "localtimestamp"].as_slice()),
            ("current_date", ["today"].as_slice()),
            ("current_time", [].as_slice()),
        ];
        names.into_iter().map(|(name, aliases)| Self {
            name,
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
            signature: Signature::nullary(Volatility::Volatile),
        })
    }

    /// Whether an expression reads the clock.
    #[must_use]
    pub fn is_in(expr: &Expr) -> bool {
        // No step fails.
        expr.exists(|part| Ok(Self::of(part).is_some())).unwrap_or(false)
    }

    /// The expression with `now` for the reading of the clock: a timestamp in nanoseconds, in UTC.
    ///
    /// # Errors
    /// None that is known: no step fails.
    pub fn replace(expr: Expr, now: &Expr) -> Result<Expr> {
        let replaced = expr.transform_up(|part| {
            let Some(clock) = Self::of(&part) else { return Ok(Transformed::no(part)) };
            let wanted = clock.data_type();
            let reading = if wanted == RowTime::data_type() {
                now.clone()
            } else {
                cast(now.clone(), wanted)
            };
            Ok(Transformed::yes(reading))
        })?;
        Ok(replaced.data)
    }

    fn of(expr: &Expr) -> Option<&Self> {
        match expr {
            Expr::ScalarFunction(call) => call.func.inner().downcast_ref::<Self>(),
            _ => None,
        }
    }

    fn data_type(&self) -> DataType {
        match self.name {
            "current_date" => DataType::Date32,
            "current_time" => DataType::Time64(TimeUnit::Nanosecond),
            _ => RowTime::data_type(),
        }
    }
}

impl ScalarUDFImpl for EpochClock {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.data_type())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Field::new(self.name, self.data_type(), false).into())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("{}() can't be computed here: name it where a table is read", self.name)
    }
}
