//! Parts of URLs, by the URL Standard (the `url` crate), and percent-encoding.

use std::{borrow::Cow, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, StringBuilder},
        datatypes::DataType,
    },
    common::Result,
    logical_expr::{Signature, Volatility},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::{Url, form_urlencoded};

use super::scalar::{Arguments, Scalar, unchecked};

/// Everything but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The functions of this file.
pub(super) fn all() -> [Scalar; 5] {
    let function = |name, arity, compute| Scalar {
        name,
        signature: Signature::exact(vec![DataType::Utf8; arity], Volatility::Immutable),
        coerce: None,
        returns: DataType::Utf8,
        check: unchecked,
        compute,
    };
    [
        function("url_host", 1, |call| call.map_text(|url| owned(host(url)))),
        function("url_path", 1, |call| call.map_text(|url| owned(path(url)))),
        function("url_param", 2, url_param),
        function("url_encode", 1, |call| {
            call.map_text(|text| Some(utf8_percent_encode(text, RESERVED).into()))
        }),
        function("url_decode", 1, |call| call.map_text(decode)),
    ]
}

fn owned<'a>(text: Option<String>) -> Option<Cow<'a, str>> {
    text.map(Cow::Owned)
}

fn host(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}

fn path(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    (!url.cannot_be_a_base()).then(|| url.path().to_owned())
}

/// The first parameter of that name, also of a URL without host: browsers report `/shop?ref=mail`.
fn url_param(call: &Arguments) -> Result<ArrayRef> {
    let (urls, names) = (call.text(0)?, call.text(1)?);
    let mut results = StringBuilder::new();
    for row in 0..call.rows {
        let found = urls.get(row).zip(names.get(row)).and_then(|(url, name)| param(url, name));
        results.append_option(found);
    }
    Ok(Arc::new(results.finish()))
}

fn param<'u>(url: &'u str, name: &str) -> Option<Cow<'u, str>> {
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    let (_, query) = url.split_once('?')?;
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Undoes percent-encoding; a `+` is a space, as forms write it. `None` if what comes out is no UTF-8.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('+') {
        return percent_decode_str(text).decode_utf8().ok();
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| Cow::Owned(text.into_owned()))
}
