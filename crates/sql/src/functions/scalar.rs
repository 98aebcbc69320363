//! The shape of Postrider's own functions of a row, so that each of them is a name, types and a computation.

use std::{
    borrow::Cow,
    hash::{Hash, Hasher},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringArray,
            StringBuilder,
        },
        datatypes::{DataType, Field, FieldRef},
    },
    common::{DataFusionError, Diagnostic, Result, ScalarValue, internal_err},
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    },
};

/// What is known of each argument when a call is planned: its type, and its value if it is a literal.
pub(crate) struct Planned<'a> {
    pub(crate) types: &'a [FieldRef],
    pub(crate) literals: &'a [Option<&'a ScalarValue>],
}

impl Planned<'_> {
    /// The text that an argument is in every row.
    pub(crate) fn text(&self, index: usize) -> Option<&str> {
        self.literals.get(index)?.as_ref()?.try_as_str().flatten()
    }
}

/// From the name of a function and the types of its arguments.
pub(crate) type Coercion = fn(&str, &[DataType]) -> Result<Vec<DataType>>;

/// A function of a row.
#[derive(Debug)]
pub(crate) struct Scalar {
    pub(crate) name: &'static str,
    pub(crate) signature: Signature,
    /// The types that the arguments are converted to, if the signature leaves that open.
    pub(crate) coerce: Option<Coercion>,
    pub(crate) returns: DataType,
    /// Refuses a call by its types and literals, before there are rows.
    pub(crate) check: fn(&Planned<'_>) -> Result<()>,
    /// Computes a column; see [`Arguments`].
    pub(crate) compute: fn(&Arguments) -> Result<ArrayRef>,
}

impl Scalar {
    pub(crate) fn into_udf(self) -> ScalarUDF {
        ScalarUDF::from(self)
    }
}

/// For a function that takes whatever its types allow.
pub(crate) fn unchecked(_call: &Planned<'_>) -> Result<()> {
    Ok(())
}

/// An error of planning that says what to do.
pub(crate) fn refused(message: String, hint: &str) -> DataFusionError {
    let diagnostic = Diagnostic::new_error(message.clone(), None).with_help(hint, None);
    DataFusionError::Plan(message).with_diagnostic(diagnostic)
}

// There is one function of a name.
impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match self.coerce {
            Some(coerce) => coerce(self.name, types),
            None => internal_err!("{} has a signature", self.name),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        (self.check)(&Planned { types: args.arg_fields, literals: args.scalar_arguments })?;
        Ok(Field::new(self.name, self.returns.clone(), true).into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let values = args.args.into_iter().map(Argument::new).collect::<Result<Vec<_>>>()?;
        let column = (self.compute)(&Arguments { rows, values })?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&column, 0)?));
        }
        Ok(ColumnarValue::Array(column))
    }
}

/// The arguments of a call over a batch. A literal is kept once, not once a row.
pub(crate) struct Arguments {
    /// How many rows the result has.
    pub(crate) rows: usize,
    pub(crate) values: Vec<Argument>,
}

impl Arguments {
    pub(crate) fn text(&self, index: usize) -> Result<Texts<'_>> {
        let Some(Argument { values, constant }) = self.values.get(index) else {
            return internal_err!("argument {index} is missing");
        };
        match values.as_string_opt::<i32>() {
            Some(values) => Ok(Texts { values, constant: *constant }),
            None => internal_err!("argument {index} is no text, but {}", values.data_type()),
        }
    }

    /// Computes a text from a text, and NULL from NULL.
    pub(crate) fn map_text(
        &self,
        of: impl for<'t> Fn(&'t str) -> Option<Cow<'t, str>>,
    ) -> Result<ArrayRef> {
        let texts = self.text(0)?;
        let mut results = StringBuilder::new();
        for row in 0..self.rows {
            results.append_option(texts.get(row).and_then(&of));
        }
        Ok(Arc::new(results.finish()))
    }

    pub(crate) fn numbers<T: ArrowPrimitiveType>(&self, index: usize) -> Result<Numbers<'_, T>> {
        let Some(Argument { values, constant }) = self.values.get(index) else {
            return internal_err!("argument {index} is missing");
        };
        match values.as_primitive_opt::<T>() {
            Some(values) => Ok(Numbers { values, constant: *constant }),
            None => {
                internal_err!("argument {index} is {}, not {}", values.data_type(), T::DATA_TYPE)
            }
        }
    }
}

/// One argument: a value for each row, or one for all.
pub(crate) struct Argument {
    pub(crate) values: ArrayRef,
    constant: bool,
}

impl Argument {
    pub(crate) fn new(value: ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Array(values) => Self { values, constant: false },
            ColumnarValue::Scalar(value) => {
                Self { values: value.to_array_of_size(1)?, constant: true }
            }
        })
    }

    /// Where the value of a row stands.
    pub(crate) const fn index(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }
}

pub(crate) struct Texts<'a> {
    values: &'a StringArray,
    constant: bool,
}

impl<'a> Texts<'a> {
    pub(crate) fn get(&self, row: usize) -> Option<&'a str> {
        let index = if self.constant { 0 } else { row };
        self.values.is_valid(index).then(|| self.values.value(index))
    }
}

pub(crate) struct Numbers<'a, T: ArrowPrimitiveType> {
    values: &'a PrimitiveArray<T>,
    constant: bool,
}

impl<T: ArrowPrimitiveType> Numbers<'_, T> {
    pub(crate) fn get(&self, row: usize) -> Option<T::Native> {
        let index = if self.constant { 0 } else { row };
        self.values.is_valid(index).then(|| self.values.value(index))
    }
}
