//! Compiles `proto/*.proto` without a `protoc` binary and writes, beside prost's types, the table of required fields.
//!
//! prost fills absent required fields with defaults, so the table is what lets a server refuse such requests as
//! Java does. It is generated from the same descriptors as the types and cannot drift from them.

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

const FILES: &[&str] = &[
    "acl_xattr.proto",
    "client_datanode.proto",
    "client_namenode.proto",
    "common.proto",
    "datanode.proto",
    "datatransfer.proto",
    "encryption_erasure.proto",
    "hdfs.proto",
    "inotify.proto",
    "lifeline.proto",
    "namenode.proto",
    "server.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let descriptors = protox::compile(FILES, ["proto"])?;
    std::fs::write(out.join("required.rs"), Table::of(&descriptors).render())?;
    prost_build::Config::new()
        .bytes(["."])
        .include_file("hadoop.rs")
        .out_dir(&out)
        .compile_fds(descriptors)?;
    Ok(())
}

/// One message as the table needs it.
struct Message {
    rust_path: String,
    descriptor: DescriptorProto,
}

/// Every message and enum by full name (`.hadoop.hdfs.BlockProto`).
struct Table {
    messages: BTreeMap<String, Message>,
    enums: BTreeMap<String, EnumDescriptorProto>,
}

impl Table {
    fn of(descriptors: &FileDescriptorSet) -> Self {
        let mut table = Self {
            messages: BTreeMap::new(),
            enums: BTreeMap::new(),
        };
        for file in &descriptors.file {
            let package = file.package().to_owned();
            let module = format!("crate::generated::{}", package.replace('.', "::"));
            for message in &file.message_type {
                table.add(message, &format!(".{package}"), &module);
            }
            for kind in &file.enum_type {
                table.enums.insert(format!(".{package}.{}", kind.name()), kind.clone());
            }
        }
        table
    }

    fn add(&mut self, message: &DescriptorProto, scope: &str, module: &str) {
        let full = format!("{scope}.{}", message.name());
        let inner = format!("{module}::{}", words(message.name()).join("_"));
        for nested in &message.nested_type {
            self.add(nested, &full, &inner);
        }
        for kind in &message.enum_type {
            self.enums.insert(format!("{full}.{}", kind.name()), kind.clone());
        }
        let rust_path = format!("{module}::{}", upper_camel(message.name()));
        let descriptor = message.clone();
        self.messages.insert(full, Message { rust_path, descriptor });
    }

    /// Names of the messages in which a required field can be missing, at any depth.
    fn checked(&self) -> BTreeSet<&str> {
        let mut checked = BTreeSet::new();
        loop {
            let before = checked.len();
            for (name, message) in &self.messages {
                let needs = |field: &prost_types::FieldDescriptorProto| {
                    field.label() == Label::Required
                        || (field.r#type() == Type::Message && checked.contains(field.type_name()))
                };
                if message.descriptor.field.iter().any(needs) {
                    checked.insert(name.as_str());
                }
            }
            if checked.len() == before {
                return checked;
            }
        }
    }

    fn render(&self) -> String {
        let checked = self.checked();
        let mut text = String::new();
        for (name, message) in &self.messages {
            let mut fields = String::new();
            for field in &message.descriptor.field {
                let required = field.label() == Label::Required;
                let nested = field.r#type() == Type::Message && checked.contains(field.type_name());
                if !required && !nested {
                    continue;
                }
                let shape = if nested {
                    format!("Some(&{})", static_name(field.type_name()))
                } else {
                    "None".into()
                };
                let values = if required && field.r#type() == Type::Enum {
                    let numbers: Vec<i32> = self.enums[field.type_name()]
                        .value
                        .iter()
                        .map(|value| value.number())
                        .collect();
                    format!("Some(&{numbers:?})")
                } else {
                    "None".into()
                };
                let _ = write!(
                    fields,
                    "FieldShape {{ number: {}, name: {:?}, required: {required}, repeated: {}, nested: {shape}, values: {values} }}, ",
                    field.number(),
                    field.name(),
                    field.label() == Label::Repeated,
                );
            }
            assert!(
                message.descriptor.field.len() <= 64,
                "{name}: the check keeps one bit a field"
            );
            let shape = static_name(name);
            let _ = writeln!(
                text,
                "static {shape}: Shape = Shape {{ name: {:?}, fields: &[{fields}] }};\n\
                 impl Required for {} {{ const SHAPE: &'static Shape = &{shape}; }}",
                &name[1..],
                message.rust_path,
            );
        }
        text
    }
}

fn static_name(full: &str) -> String {
    let parts: Vec<String> = full[1..]
        .split('.')
        .map(|part| words(part).join("_").to_uppercase())
        .collect();
    parts.join("__")
}

/// Splits as prost names types: before an upper-case letter that follows a lower-case one or begins a word after an acronym.
fn words(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (index, letter) in letters.iter().enumerate() {
        let after_lower = index > 0 && !letters[index - 1].is_uppercase();
        let before_lower = index > 0 && letters.get(index + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (after_lower || before_lower) && !words[words.len() - 1].is_empty() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

fn upper_camel(name: &str) -> String {
    words(name)
        .iter()
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect()
}
