//! Identities: blake3 digests, a type for each thing so that they never mix.

use std::{fmt, str::FromStr};

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The identity of these bytes.
            pub fn of(bytes: &[u8]) -> Self {
                Self(*blake3::hash(bytes).as_bytes())
            }
            /// An identity known already.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
            /// The digest itself.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
            /// The first twelve hex digits: enough for a person to tell two apart.
            pub fn short(&self) -> String {
                self.to_string()[..12].to_owned()
            }
        }
        impl From<blake3::Hash> for $name {
            fn from(hash: blake3::Hash) -> Self {
                Self(*hash.as_bytes())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }
        impl FromStr for $name {
            type Err = crate::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let hash = blake3::Hash::from_hex(text).map_err(|_| crate::Error::Encoding {
                    what: "digest",
                    reason: format!("{text:?} is not 64 hex digits"),
                })?;
                Ok(hash.into())
            }
        }
    };
}

id_type!(
    /// The bytes of one regular file.
    ObjectId
);
id_type!(
    /// One directory's entries.
    TreeId
);
id_type!(
    /// A root filesystem.
    SnapshotId
);
id_type!(
    /// A difference of two root filesystems.
    DeltaId
);
