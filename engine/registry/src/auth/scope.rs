//! What a token is good for: `repository:library/debian:pull,push`.

use std::collections::{BTreeMap, BTreeSet};

/// Actions by resource (`repository:library/debian`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    pub fn none() -> Self {
        Self::default()
    }

    pub fn pull(path: &str) -> Self {
        Self::default().and(path, &["pull"])
    }

    pub fn push(path: &str) -> Self {
        Self::default().and(path, &["pull", "push"])
    }

    /// A push to one repository of what another one has.
    pub fn mount(path: &str, from: &str) -> Self {
        Self::push(path).and(from, &["pull"])
    }

    fn and(mut self, path: &str, actions: &[&str]) -> Self {
        let entry = self.0.entry(format!("repository:{path}")).or_default();
        entry.extend(actions.iter().map(|action| (*action).to_owned()));
        self
    }

    /// Adds what a challenge asks for: scopes with a space between them.
    pub fn add_all(&mut self, text: &str) {
        for scope in text.split(' ') {
            // The name may hold colons (of a port), so the last one is what counts.
            if let Some((resource, actions)) =
                scope.rsplit_once(':').filter(|(resource, _)| resource.contains(':'))
            {
                let actions = actions.split(',').filter(|action| !action.is_empty()).map(str::to_owned);
                self.0.entry(resource.to_owned()).or_default().extend(actions);
            }
        }
    }

    /// Whether who has these has the others too.
    pub fn cover(&self, others: &Self) -> bool {
        others
            .0
            .iter()
            .all(|(resource, actions)| self.0.get(resource).is_some_and(|own| own.is_superset(actions)))
    }

    /// As the token server is asked.
    pub fn texts(&self) -> Vec<String> {
        let text = |(resource, actions): (&String, &BTreeSet<String>)| {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        };
        self.0.iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_covering() {
        let mount = Scopes::mount("new/shop", "base/debian");
        assert_eq!(mount.texts(), ["repository:base/debian:pull", "repository:new/shop:pull,push"]);
        assert!(mount.cover(&Scopes::pull("new/shop")) && mount.cover(&Scopes::push("new/shop")));
        assert!(!mount.cover(&Scopes::push("base/debian")) && !Scopes::none().cover(&mount));
        assert_eq!(Scopes::mount("a", "a"), Scopes::push("a"));
        let mut asked = Scopes::none();
        asked.add_all("repository:host:5000/x:pull,push registry:catalog:* junk");
        assert_eq!(asked.texts(), ["registry:catalog:*", "repository:host:5000/x:pull,push"]);
    }
}
