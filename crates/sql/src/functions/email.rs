//! Addresses of email.

use std::borrow::Cow;

use datafusion::{
    arrow::datatypes::DataType,
    logical_expr::{Signature, Volatility},
};

use super::scalar::{Scalar, unchecked};

/// The functions of this file.
pub(super) fn all() -> [Scalar; 2] {
    [
        Scalar {
            name: "email_domain",
            signature: Signature::exact(vec![DataType::Utf8], Volatility::Immutable),
            coerce: None,
            returns: DataType::Utf8,
            check: unchecked,
            compute: |call| call.map_text(domain),
        },
        Scalar {
            name: "email_normalize",
            signature: Signature::exact(vec![DataType::Utf8], Volatility::Immutable),
            coerce: None,
            returns: DataType::Utf8,
            check: unchecked,
            compute: |call| call.map_text(|address| Some(lower(address.trim()))),
        },
    ]
}

/// What stands behind the last `@`, in lower case; `None` unless there is something on both sides of it.
fn domain(address: &str) -> Option<Cow<'_, str>> {
    let (local, domain) = address.trim().rsplit_once('@')?;
    (!local.is_empty() && !domain.is_empty()).then(|| lower(domain))
}

fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.to_lowercase())
    }
}
