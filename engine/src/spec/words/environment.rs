//! Values of environment variables: text, maybe with what they would be otherwise, `"/opt/bin:${env.PATH}"`.
//!
//! What a variable would be otherwise is known only when the chain of steps below is: so this is the one template
//! that outlives the loading of the file.

use std::fmt;

/// The value of one environment variable as the file gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvValue {
    /// In order; neighbours are not both [`EnvPart::Text`].
    pub parts: Vec<EnvPart>,
}

/// A part of an [`EnvValue`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EnvPart {
    /// As it is.
    Text(String),
    /// `${env.NAME}`: the value NAME would have without this table.
    Inherited(String),
}

impl EnvValue {
    /// A value without references.
    pub fn literal(text: impl Into<String>) -> Self {
        Self { parts: vec![EnvPart::Text(text.into())] }
    }

    /// The value, given what is inherited.
    ///
    /// # Errors
    /// The name of the first variable that is not set. (PATH always is: give its default.)
    pub fn resolve(&self, inherited: impl Fn(&str) -> Option<String>) -> Result<String, &str> {
        let mut value = String::new();
        for part in &self.parts {
            match part {
                EnvPart::Text(text) => value.push_str(text),
                EnvPart::Inherited(name) => value.push_str(&inherited(name).ok_or(name.as_str())?),
            }
        }
        Ok(value)
    }
}

impl fmt::Display for EnvValue {
    /// As in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            EnvPart::Text(text) => f.write_str(&text.replace("${", "$${")),
            EnvPart::Inherited(name) => write!(f, "${{env.{name}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inherited_parts_are_filled_in() {
        let parts = vec![EnvPart::Text("/opt/bin:".into()), EnvPart::Inherited("PATH".into())];
        let value = EnvValue { parts };
        assert_eq!(value.resolve(|_| Some("/bin".into())), Ok("/opt/bin:/bin".to_owned()));
        assert_eq!(value.resolve(|_| None), Err("PATH"));
        assert_eq!(value.to_string(), "/opt/bin:${env.PATH}");
        assert_eq!(EnvValue::literal("x").resolve(|_| None), Ok("x".to_owned()));
    }
}
