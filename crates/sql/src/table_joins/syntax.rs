//! `FOR SYSTEM_TIME AS OF time` in the syntax tree. DataFusion's planner passes over it, so it becomes a part of the condition
//! of its join that lowering finds again.

use datafusion::{
    arrow::datatypes::DataType,
    common::{Result, exec_err},
    logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility},
};
use sqlparser::ast::{
    BinaryOperator, Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Select, TableFactor,
    TableVersion,
};

/// How a version is asked for.
pub(crate) const HINT: &str =
    "write FROM orders o JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency";

/// What else answers a query that ends.
pub(crate) const BOUNDED_HINT: &str = "have the pipeline look them up: INSERT INTO billed SELECT .., and query the file that it writes";

/// The time of a version in the condition of a join. No query can call it: the checks don't know its name. Volatile, so that no rule
/// moves it before lowering.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct AsOf {
    signature: Signature,
}

impl AsOf {
    /// Its name.
    pub(crate) const NAME: &'static str = "for_system_time_as_of";

    pub(crate) fn new() -> Self {
        Self { signature: Signature::any(1, Volatility::Volatile) }
    }

    /// Whether a condition is the time of a version.
    pub(super) fn is(condition: &Expr) -> bool {
        Self::time(condition).is_some()
    }

    /// The time that a condition asks for.
    pub(super) fn time(condition: &Expr) -> Option<&Expr> {
        match condition {
            Expr::ScalarFunction(call) if call.func.inner().is::<Self>() => call.args.first(),
            _ => None,
        }
    }
}

impl ScalarUDFImpl for AsOf {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("the version of a table is no function of a row")
    }
}

/// The relation of a join that is a version of a table, where that may stand.
pub(crate) fn versioned(join: &Join) -> Option<&TableFactor> {
    let TableFactor::Table { version: Some(TableVersion::ForSystemTimeAsOf(_)), .. } =
        &join.relation
    else {
        return None;
    };
    condition(&join.join_operator).map(|_| &join.relation)
}

/// The condition of a join by which a version can be looked up.
const fn condition(operator: &JoinOperator) -> Option<&SqlExpr> {
    match operator {
        JoinOperator::Join(JoinConstraint::On(condition))
        | JoinOperator::Inner(JoinConstraint::On(condition))
        | JoinOperator::Left(JoinConstraint::On(condition))
        | JoinOperator::LeftOuter(JoinConstraint::On(condition)) => Some(condition),
        _ => None,
    }
}

/// Puts the times of versions into the conditions of their joins.
pub(crate) fn mark(select: &mut Select) {
    for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
        let TableFactor::Table { version, .. } = &mut join.relation else { continue };
        let (JoinOperator::Join(JoinConstraint::On(condition))
        | JoinOperator::Inner(JoinConstraint::On(condition))
        | JoinOperator::Left(JoinConstraint::On(condition))
        | JoinOperator::LeftOuter(JoinConstraint::On(condition))) = &mut join.join_operator
        else {
            continue;
        };
        if let Some(TableVersion::ForSystemTimeAsOf(time)) = version.take() {
            let on = Box::new(SqlExpr::Nested(Box::new(condition.clone())));
            let time = Box::new(call(time));
            *condition = SqlExpr::BinaryOp { left: on, op: BinaryOperator::And, right: time };
        }
    }
}

fn call(time: SqlExpr) -> SqlExpr {
    let argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(time));
    SqlExpr::Function(Function {
        name: ObjectName::from(vec![Ident::new(AsOf::NAME)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![argument],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
