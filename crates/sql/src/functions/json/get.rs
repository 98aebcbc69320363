//! `json_get`: a part of JSON as the text of its JSON.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{AsArray, StringArray},
        compute::{kernels::cmp::eq, nullif},
        datatypes::{DataType, Field, FieldRef},
    },
    common::{
        DataFusionError, Result, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility, expr::ScalarFunction,
    },
};
use datafusion_functions_json::udfs::json_get_json_udf;

pub(super) const JSON_GET: &str = "json_get";
const JSON_NULL: &str = "null";

/// The function.
pub(super) fn json_get() -> Arc<ScalarUDF> {
    let signature = Signature::variadic_any(Volatility::Immutable);
    Arc::new(ScalarUDF::from(JsonGet { signature, text: json_get_json_udf() }))
}

/// The arguments of a call of `json_get`, perhaps under an alias.
pub(super) fn arguments(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::Alias(alias) => arguments(&alias.expr),
        Expr::ScalarFunction(call) if call.name() == JSON_GET => Some(&call.args),
        _ => None,
    }
}

/// An expression of the crate, with this `json_get` for its own.
pub(super) fn with_text(planned: Expr) -> Result<Expr> {
    let own = planned.transform_up(|part| match part {
        Expr::ScalarFunction(ScalarFunction { func, args })
            if func.name() == JSON_GET && !func.inner().is::<JsonGet>() =>
        {
            Ok(Transformed::yes(json_get().call(args)))
        }
        part => Ok(Transformed::no(part)),
    })?;
    Ok(own.data)
}

/// `json_get_json`, but NULL for a JSON null. The text of a string has quotes.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonGet {
    signature: Signature,
    text: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for JsonGet {
    fn name(&self) -> &str {
        JSON_GET
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.text.return_type(types).map_err(|error| match error {
            DataFusionError::Plan(message) => {
                DataFusionError::Plan(message.replace(self.text.name(), JSON_GET))
            }
            error => error,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Field::new(JSON_GET, self.return_type(&types)?, true).into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match self.text.invoke_with_args(args)? {
            ColumnarValue::Array(texts) => {
                let nulls = eq(texts.as_string::<i32>(), &StringArray::new_scalar(JSON_NULL))?;
                Ok(ColumnarValue::Array(nullif(&texts, &nulls)?))
            }
            ColumnarValue::Scalar(text) if text.try_as_str() == Some(Some(JSON_NULL)) => {
                Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None)))
            }
            scalar => Ok(scalar),
        }
    }
}
