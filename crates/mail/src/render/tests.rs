use std::collections::BTreeMap;

use minijinja::Value;

use super::{FaultKind, Part, Renderer, TemplateSources};

pub(crate) const CART: &str = r#"<mjml>
  <mj-head>
    <mj-preview>{{ count }} things wait for you</mj-preview>
  </mj-head>
  <mj-body>
    <mj-section>
      <mj-column>
        <mj-text>Hi {{ name | default("there") }},<br/>you left {{ count }} things:</mj-text>
        <mj-table>
          {% for item in items %}
          <tr><td>{{ item.name }}</td><td>{{ item.price | money("EUR") }}</td></tr>
          {% endfor %}
        </mj-table>
        {# only where there is a coupon #}
        <mj-raw>{% if coupon %}</mj-raw>
        <mj-text>Take {{ coupon }} with you.</mj-text>
        <mj-raw>{% endif %}</mj-raw>
        <mj-button href="https://shop.example/cart?id={{ cart_id | urlencode }}&amp;from=mail">Back to the cart</mj-button>
        <mj-image src="{{ image }}" alt="Our shop" />
        <mj-divider />
        <mj-text><a href="{{ link }}">Stop these mails</a></mj-text>
      </mj-column>
    </mj-section>
  </mj-body>
</mjml>"#;

fn compile(subject: &str, mjml: &str) -> Result<Renderer, Vec<(Part, FaultKind, String)>> {
    Renderer::compile(TemplateSources { subject, mjml, text: None }).map_err(|faults| {
        faults.into_iter().map(|fault| (fault.part, fault.kind, fault.message)).collect()
    })
}

fn body(inside: &str) -> String {
    format!(
        "<mjml><mj-body><mj-section><mj-column><mj-text>{inside}</mj-text></mj-column></mj-section></mj-body></mjml>"
    )
}

fn row(pairs: &[(&str, &str)]) -> Value {
    Value::from_pairs(pairs.iter().copied())
}

fn cart_row() -> BTreeMap<String, Value> {
    let item = |name: &str, price: f64| {
        Value::from_pairs([("name", Value::from(name)), ("price", Value::from(price))])
    };
    BTreeMap::from([
        ("name".to_owned(), Value::from("Zoë & <Co>")),
        ("count".to_owned(), Value::from(2)),
        ("items".to_owned(), Value::from_iter([item("Mug", 12.5), item("Tea \"Earl\"", 4.0)])),
        ("coupon".to_owned(), Value::from("SAVE10")),
        ("cart_id".to_owned(), Value::from("c 1&x")),
        ("image".to_owned(), Value::from("https://cdn.example/a.png")),
        ("link".to_owned(), Value::from("https://shop.example/stop")),
    ])
}

#[test]
fn a_cart_mail_is_rendered_in_all_parts() {
    let renderer = compile("{{ count }} things, {{ name }}", CART).unwrap();
    let mail = renderer.render(&Value::from_pairs(cart_row())).unwrap();
    assert_eq!(mail.subject, "2 things, Zoë & <Co>");
    assert_eq!(
        mail.text,
        "Hi Zoë & <Co>,\nyou left 2 things:\n\nMug €12.50\nTea \"Earl\" €4.00\n\nTake SAVE10 with you.\n\n\
         Back to the cart <https://shop.example/cart?id=c%201%26x&from=mail>\n\nOur shop\n\n\
         Stop these mails <https://shop.example/stop>\n"
    );
    for expected in [
        "Zoë &amp; &lt;Co&gt;",
        "<td>Tea &quot;Earl&quot;</td><td>€4.00</td>",
        "href=\"https://shop.example/cart?id=c%201%26x&amp;from=mail\"",
        "src=\"https://cdn.example/a.png\"",
        "Take SAVE10 with you.",
    ] {
        assert!(mail.html.contains(expected), "{expected} is not in {}", mail.html);
    }
    assert!(!mail.html.contains('\u{27E6}') && !mail.html.contains("{%"), "{}", mail.html);
    assert!(!mail.html.contains("fonts.googleapis.com"), "{}", mail.html);
}

#[test]
fn null_skips_a_condition_and_takes_a_default() {
    let renderer = compile("Hi", CART).unwrap();
    let mut row = cart_row();
    row.insert("coupon".to_owned(), Value::UNDEFINED);
    row.insert("name".to_owned(), Value::UNDEFINED);
    let mail = renderer.render(&Value::from_pairs(row)).unwrap();
    assert!(mail.text.starts_with("Hi there,\n"), "{}", mail.text);
    assert!(!mail.text.contains("Take") && !mail.html.contains("Take"));
}

#[test]
fn data_is_never_markup_and_never_a_template() {
    let renderer = compile(
        "{{ name }}",
        &body("<a title=\"{{ name }}\" href=\"https://a.example/{{ name }}\">{{ name }}</a>{% autoescape false %}{{ name }}{% endautoescape %}{% autoescape 'json' %}{{ name | escape }}{% endautoescape %}"),
    )
    .unwrap();
    let json = compile("x", &body("<a title=\"{{ name | tojson }}\">x</a>"));
    assert!(json.map_or(true, |json| json.render(&row(&[("name", "x")])).is_err()));
    for hostile in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "{{7*7}}",
        "{% raw %}",
        "{# x #}",
        "</a></td></table>",
        "' onmouseover='x",
        "--></style><script>",
        "{{ self }}",
        "\u{27E6}pr:0\u{27E7}",
    ] {
        let mail = renderer.render(&row(&[("name", hostile)])).unwrap();
        assert!(!mail.html.contains("<script") && !mail.html.contains("<img"), "{}", mail.html);
        assert!(!mail.html.contains("49"), "{}", mail.html);
        let quoted = hostile.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let quoted = quoted.replace('"', "&quot;").replace('\'', "&#39;");
        assert_eq!(mail.html.matches(&quoted).count(), 5, "{hostile} in {}", mail.html);
        assert_eq!(mail.subject, hostile);
        assert!(mail.text.contains(hostile), "{}", mail.text);
    }
}

#[test]
fn a_bare_carriage_return_never_leaves() {
    let renderer = compile("{{ name }}", &body("{{ name }}")).unwrap();
    let hostile = "x\r.\rMAIL FROM:<a@b.example>\r\nRCPT\n\u{b}\u{0}end";
    let mail = renderer.render(&row(&[("name", hostile)])).unwrap();
    for part in [&mail.html, &mail.text] {
        assert!(!part.contains(['\r', '\u{b}', '\0']), "{part:?}");
    }
    assert!(mail.text.contains("x\n.\nMAIL FROM"), "{:?}", mail.text);
}

#[test]
fn a_subject_is_one_line() {
    let renderer = compile("{{ name }}", &body("x")).unwrap();
    let subject = |name: &str| renderer.render(&row(&[("name", name)])).map(|mail| mail.subject);
    assert_eq!(subject("a\r\nBcc: b@c.example").unwrap(), "a Bcc: b@c.example");
    assert_eq!(subject("a\u{2028}b\0c\u{1b}d\te").unwrap(), "a bcd e");
    assert_eq!(subject(&"x".repeat(10_000)).unwrap().len(), 500);
    assert!(subject("\r\n ").is_err());
}

#[test]
fn urls_from_data_have_a_known_scheme_or_fail_the_render() {
    let renderer = compile("s", &body("<a href=\"{{ url }}\">x</a>")).unwrap();
    for bad in
        ["javascript:alert(1)", " JAVASCRIPT:x", "data:text/html,x", "java\nscript:x", "", "/a"]
    {
        let error = renderer.render(&row(&[("url", bad)])).unwrap_err();
        assert_eq!(error.part, Part::Html, "{bad}");
        assert!(!error.message.contains(bad) || bad.len() < 3, "{}", error.message);
    }
    assert!(renderer.render(&row(&[("url", "https://a.example/?a=1&b=2")])).is_ok());
    let fixed =
        compile("s", &body("<a href=\"{% if a %}{{ a }}{% else %}#{% endif %}\">x</a>")).unwrap();
    assert!(fixed.render(&row(&[("a", "javascript:x")])).is_err());
    assert!(fixed.render(&row(&[("a", "mailto:a@b.example")])).is_ok());
}

#[test]
fn work_and_output_are_bounded() {
    for endless in [
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 'x' * 100000000 }}",
    ] {
        let renderer = compile("s", &body(endless)).unwrap();
        assert!(renderer.render(&row(&[])).is_err(), "{endless}");
    }
    let large = compile("s", &body("{{ a }}")).unwrap();
    let text = "x".repeat(1024 * 1024);
    assert!(large.render(&row(&[("a", &text)])).is_err());
}

#[test]
fn mistakes_are_named_with_their_line() {
    let cases = [
        (body("{{ a"), FaultKind::Syntax, "line 1"),
        (body("\n{% for x in %}{% endfor %}"), FaultKind::Syntax, "line 2"),
        (
            "<mjml><mj-body>\n<mj-wrong/></mj-body></mjml>".to_owned(),
            FaultKind::Markup,
            "line 2: there is no element <mj-wrong>",
        ),
        (
            "<mjml><mj-body><mj-include path=\"a\"/></mj-body></mjml>".to_owned(),
            FaultKind::Markup,
            "mj-include",
        ),
        ("hello".to_owned(), FaultKind::Markup, ""),
        (format!("<mjml><mj-body>{}", "<mj-section>".repeat(30_000)), FaultKind::Markup, "nested"),
        (body("<p onclick=\"{{ a }}\">x</p>"), FaultKind::UnsafeTag, "onclick"),
        (body("<script>{{ a }}</script>"), FaultKind::UnsafeTag, "script"),
        (body("<iframe srcdoc=\"{{ a }}\"></iframe>"), FaultKind::UnsafeTag, "srcdoc"),
        (
            body("x").replace(
                "<mj-body>",
                "<mj-head><mj-style>p { color: {{ a }} }</mj-style></mj-head><mj-body>",
            ),
            FaultKind::UnsafeTag,
            "style",
        ),
    ];
    for (mjml, kind, words) in cases {
        let faults = compile("s", &mjml).map(drop).expect_err(words);
        assert!(
            faults.iter().any(|(_, found, message)| *found == kind && message.contains(words)),
            "{kind:?} {words}: {faults:?}"
        );
    }
    let faults = compile("{{ a", &body("x")).unwrap_err();
    assert_eq!((faults[0].0, faults[0].1), (Part::Subject, FaultKind::Syntax));
}

#[test]
fn data_never_leaves_its_place_in_a_style() {
    let styled = body("<p style=\"color: {{ a }}; margin: 0\">x</p>");
    let attribute = body("x").replace("<mj-text>", "<mj-text color=\"{{ a }}\">");
    let button = body("x")
        .replace("<mj-text>", "<mj-button background-color=\"{{ a }}\">")
        .replace("</mj-text>", "</mj-button>");
    for mjml in [styled, attribute, button] {
        let renderer = compile("s", &mjml).unwrap();
        let html = renderer.render(&row(&[("a", "#ff8800")])).unwrap().html;
        assert!(html.contains("#ff8800"), "{html}");
        for hostile in ["red; background: url(https://evil.example)", "red\\3b x", "x/*", "'"] {
            let error = renderer.render(&row(&[("a", hostile)])).unwrap_err();
            assert!(error.message.contains("in a style"), "{error}");
        }
    }
}

#[test]
fn conditions_may_stand_between_sections() {
    let section = |text: &str| {
        format!("<mj-section><mj-column><mj-text>{text}</mj-text></mj-column></mj-section>")
    };
    let (a, b) = (section("A"), section("B"));
    let mjml =
        format!("<mjml><mj-body>{{% if x %}}{a}{{% else %}}{b}{{% endif %}}</mj-body></mjml>");
    let renderer = compile("s", &mjml).unwrap();
    let text = |x: &str| renderer.render(&row(&[("x", x)])).unwrap().text;
    assert_eq!((text("1"), text("")), ("A\n".to_owned(), "B\n".to_owned()));
}

#[test]
fn attributes_without_effect_are_a_warning() {
    let mjml = body("x").replace("<mjml>", "\n<mjml colour=\"red\">");
    let warnings = compile("s", &mjml).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].message.starts_with("line 2: unexpected attribute"), "{warnings:?}");
}

/// `cargo test --release -p postrider-mail --lib render_speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn render_speed() {
    let renderer = compile("{{ count }} things, {{ name }}", CART).unwrap();
    let row = Value::from_pairs(cart_row());
    let begin = std::time::Instant::now();
    for _ in 0..1_000 {
        renderer.render(&row).unwrap();
    }
    let html = renderer.render(&row).unwrap().html;
    println!("{} us a mail of {} bytes of HTML", begin.elapsed().as_micros() / 1_000, html.len());
}

#[test]
fn variables_are_found_with_their_paths() {
    let renderer = compile("{{ name }}", CART).unwrap();
    let names: Vec<_> = renderer.variables(Part::Html).into_iter().collect();
    assert_eq!(names, ["cart_id", "count", "coupon", "image", "items", "link", "name"]);
    let nested = compile(
        "s",
        &body("{{ a.b.c }}{{ range(3) }}{% for x in y %}{{ loop.index }}{{ x.z }}{% endfor %}"),
    )
    .unwrap();
    let names: Vec<_> = nested.variables(Part::Html).into_iter().collect();
    assert_eq!(names, ["a.b.c", "y"]);
}
