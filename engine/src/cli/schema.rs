//! `rbuild schema`

use crate::ui::{json, shell::Shell};
use rbuild::{build::Metadata, doctor, error::Result, spec::schema};
use serde_json::{Value, json};

/// Prints a JSON Schema, for editors and for programs that read events, or a list of all keys
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Of what
    #[arg(value_enum, value_name = "WHAT", default_value_t)]
    what: What,
}

/// What has a schema.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum What {
    /// Build files
    #[default]
    Build,
    /// The lines of `--progress json`
    Events,
    /// rbuild.lock
    Lock,
    /// The file of `rbuild apply --metadata-file`
    Metadata,
    /// What `rbuild doctor --json` prints
    Doctor,
    /// The keys of a build file, for people: Markdown
    Reference,
}

impl Arguments {
    /// Prints it.
    ///
    /// # Errors
    /// If the standard output can't be written to.
    pub fn run(self, shell: Shell) -> Result<()> {
        shell.print(&match self.what {
            What::Build => schema::build_schema_text(),
            What::Events => pretty(&json::schema()),
            What::Metadata => pretty(&Metadata::schema()),
            What::Doctor => pretty(&doctor::Report::schema()),
            What::Lock => pretty(&lock_schema()),
            What::Reference => schema::reference_text(),
        })
    }
}

fn pretty(schema: &Value) -> String {
    // A value can always be written.
    serde_json::to_string_pretty(schema).unwrap_or_default() + "\n"
}

/// As `spec::lock` reads and writes it. Each kind of lookup has keys of its own, read by its source.
fn lock_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rbuild lock file",
        "description": "Written by rbuild: what names meant when they were looked up, and the epoch.",
        "type": "object",
        "required": ["version", "epoch"],
        "additionalProperties": false,
        "properties": {
            "version": { "description": "Format of this file.", "const": 1 },
            "epoch": {
                "description": "When the file was made or last updated in whole, in seconds since 1970.",
                "type": "integer",
                "minimum": 0,
                "maximum": 253_402_300_799_i64
            },
            "lookup": {
                "description": "One a name that was looked up, sorted.",
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["op", "input"],
                    "properties": {
                        "op": { "description": "What kind of lookup it was.", "type": "string" },
                        "input": { "description": "What was looked up.", "type": "string" }
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rbuild::spec::lock::Lock;

    #[test]
    fn the_schema_of_lock_files_and_their_reader_agree() {
        let validator = jsonschema::validator_for(&lock_schema()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rbuild.lock");
        let lookup = "[[lookup]]\nop = \"http\"\ninput = \"https://example.org/x\"\nsha256 = \"5e\"\n";
        for (text, good) in [
            ("version = 1\nepoch = 1764000000\n", true),
            (&format!("version = 1\nepoch = 0\n{lookup}"), true),
            ("version = 1\nepoch = 253402300799\n", true),
            ("version = 1\nepoch = 253402300800\n", false),
            ("version = 1\nepoch = -1\n", false),
            ("version = 2\nepoch = 1\n", false),
            ("version = 1\n", false),
            ("version = 1\nepoch = 1\nmore = 1\n", false),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Lock::load(&path).is_ok(), good, "reader: {text}");
            let value: toml::Table = toml::from_str(text).unwrap();
            assert_eq!(validator.is_valid(&serde_json::to_value(value).unwrap()), good, "schema: {text}");
        }
    }

    #[test]
    fn what_rbuild_writes_is_what_the_schema_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rbuild.lock");
        Lock::new(1_764_000_000).create(&path).unwrap();
        let value: toml::Table = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let validator = jsonschema::validator_for(&lock_schema()).unwrap();
        assert!(validator.is_valid(&serde_json::to_value(value).unwrap()));
    }
}
