//! x
use std::io::Read;
fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    for line in text.lines() {
        let v: serde_json::Value = serde_json::from_str(line).unwrap();
        match crds::admission::admit(&v) {
            Ok(_) => println!("OK"),
            Err(e) => println!("NO {}", e.to_string().replace('\n', " | ")),
        }
    }
}
