//! How ports, traffic and ICMP messages look in the custom resources: the same pattern and the same rules, with the
//! same sentences, wherever one is written.

use schemars::Schema;
use serde_json::{Value, json};

/// A rule of the API server on one text, and what is said where it is broken.
type Rule = (&'static str, &'static str);

const PORT_NUMBERS: Rule = (
    "!self.matches('^(tcp|udp)/[0-9]{1,5}(-[0-9]{1,5})?$') || self.split('/')[1].split('-').all(n, int(n) <= 65535)",
    "ports are numbers from 0 to 65535",
);

const PORT_ORDER: Rule = (
    "!self.matches('^(tcp|udp)/[0-9]{1,5}-[0-9]{1,5}$') || int(self.split('/')[1].split('-')[0]) <= int(self.split('-')[1])",
    "a port range starts with its smaller port",
);

const BYTES: Rule = (
    "!self.matches('^((icmp|icmpv6)/)?[0-9]{1,3}(/[0-9]{1,3})?$') || self.split('/').all(n, !n.matches('^[0-9]+$') || int(n) <= 255)",
    "ICMP types, ICMP codes and protocol numbers go from 0 to 255",
);

/// Ports of TCP or UDP, such as `tcp/443`: a field, or the entries of a list.
pub(crate) fn ports(schema: &mut Schema) {
    const PATTERN: &str = "^(tcp|udp)/[0-9]{1,5}(-[0-9]{1,5})?$";
    const FORM: &str = "ports look like tcp/443 or udp/6000-6010";
    restrict(schema, 15, PATTERN, FORM, &[PORT_NUMBERS, PORT_ORDER]);
}

/// Traffic of any protocol, such as `icmp/3/4`: a field, or the entries of a list.
pub(crate) fn traffic(schema: &mut Schema) {
    const PATTERN: &str = "^(all|(tcp|udp)(/[0-9]{1,5}(-[0-9]{1,5})?)?|(icmp|icmpv6)(/[0-9]{1,3}){0,2}|[0-9]{1,3})$";
    const FORM: &str =
        "traffic looks like tcp/443, udp/6000-6010, tcp, icmp, icmp/3/4, a protocol number such as 50, or all";
    restrict(schema, 20, PATTERN, FORM, &[PORT_NUMBERS, PORT_ORDER, BYTES]);
}

/// ICMP messages, such as `3/4`: a field, or the entries of a list.
pub(crate) fn icmp(schema: &mut Schema) {
    const PATTERN: &str = "^[0-9]{1,3}(/[0-9]{1,3})?$";
    const FORM: &str = "an ICMP message is a type such as 11, or a type and a code such as 3/4";
    restrict(schema, 7, PATTERN, FORM, &[BYTES]);
}

/// Bounds a text, or each entry of a list of texts. The pattern is also a rule, as a rule can say what it wants.
fn restrict(schema: &mut Schema, longest: u32, pattern: &str, form: &str, rules: &[Rule]) {
    let form = json!({"rule": format!("self.matches('{pattern}')"), "message": form});
    let others = rules.iter().map(|(rule, message)| json!({"rule": rule, "message": message}));
    let rules: Vec<Value> = std::iter::once(form).chain(others).collect();
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    let text = match fields.get_mut("items") {
        Some(entries) => entries.as_object_mut(),
        None => schema.as_object_mut(),
    };
    if let Some(text) = text {
        text.insert("maxLength".to_owned(), json!(longest));
        text.insert("pattern".to_owned(), json!(pattern));
        text.insert("x-kubernetes-validations".to_owned(), Value::Array(rules));
    }
}
