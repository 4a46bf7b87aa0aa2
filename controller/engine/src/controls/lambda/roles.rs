//! `spec.roles`: execution roles.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Compiled as Parameters, Control, LambdaView};
use crate::controls::{About, FUNCTIONS, InvalidParameter, Setting};
use crate::finding::{Severity, Verdict};
use crate::select::Globs;

/// Execution roles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Roles {
    /// Whether functions must not share their execution role with others of the account and region. Reported only.
    /// Recommended: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedicated: Option<bool>,
    /// How many functions may have the same role. Recommended: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_functions_per_role: Option<i32>,
    /// Globs on the name or the ARN of roles that any number of functions may share. Recommended: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 512)))]
    pub exempt_roles: Option<Vec<String>>,
}

const MAX_FUNCTIONS_PER_ROLE: i32 = 1;

impl Roles {
    /// Every recommended value.
    pub(super) fn recommended() -> Self {
        Self {
            dedicated: Some(true),
            max_functions_per_role: Some(MAX_FUNCTIONS_PER_ROLE),
            exempt_roles: Some(Vec::new()),
        }
    }
}

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compiled {
    most: usize,
    exempt: Globs,
}

impl Compiled {
    pub(super) fn new(roles: Option<&Roles>) -> Result<Self, InvalidParameter> {
        let Roles { dedicated: _, max_functions_per_role, exempt_roles } = roles.cloned().unwrap_or_default();
        Ok(Self {
            most: usize::try_from(max_functions_per_role.unwrap_or(MAX_FUNCTIONS_PER_ROLE)).unwrap_or_default(),
            exempt: Globs::new("roles.exemptRoles", &exempt_roles.unwrap_or_default())?,
        })
    }
}

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[Control {
    about: About {
        id: "lambda-dedicated-role",
        title: "Each function has its own execution role",
        severity: Severity::Medium,
        field: "roles.dedicated",
        default: "true, with maxFunctionsPerRole 1",
        remedy: "report only: what a new role has to allow is known to the workload alone",
        since: "0.2.0",
        sources: &[FUNCTIONS],
    },
    setting: |spec| Setting::switch(spec.roles.as_ref().and_then(|roles| roles.dedicated)),
    alike: |one, other| one.roles == other.roles,
    check: check_dedicated,
    remedy: None,
}];

fn check_dedicated(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let Some(view) = view.function() else { return Verdict::not_applicable("not a function") };
    let Compiled { most, exempt } = &parameters.roles;
    let role = view.configuration().role.as_str();
    let name = role.rsplit('/').next().unwrap_or(role);
    if exempt.is_match(name) || exempt.is_match(role) {
        return Verdict::not_applicable("roles.exemptRoles lets functions share this role");
    }
    match view.sharing_role() {
        sharing if sharing <= *most => Verdict::Pass,
        sharing => Verdict::fail(format!("at most {most} function(s) with one role"), format!("{sharing} have {name}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::LambdaParameters;
    use super::super::fixtures::{NAME, control, function, inventory, setting, spec, verdict, word};
    use super::*;
    use crate::facts::Inventory;

    const DEDICATED: &str = "lambda-dedicated-role";

    /// So many functions with one role, and one with another.
    fn sharing(count: usize) -> Inventory {
        let shared = |number: usize| {
            let mut shared = function(&format!("shared-{number}"));
            shared.configuration.role = "arn:aws:iam::111122223333:role/service/shop".to_owned();
            shared
        };
        inventory((0..count).map(shared).chain([function(NAME)]).collect())
    }

    #[test]
    fn defaults() {
        let setting = |written| setting(&spec(written), DEDICATED);
        assert_eq!(setting(json!({})), Setting::Recommended);
        assert_eq!(setting(json!({"roles": {"maxFunctionsPerRole": 3}})), Setting::Recommended);
        assert_eq!(setting(json!({"roles": {"dedicated": true}})), Setting::Named);
        assert_eq!(setting(json!({"roles": {"dedicated": false}})), Setting::Off);
        assert_eq!(Compiled::new(Some(&Roles::recommended())), Compiled::new(None));
        assert!(control(DEDICATED).remedy.is_none());
    }

    #[test]
    fn a_role_is_shared_by_as_many_as_have_it() {
        let default = LambdaParameters::default();
        assert_eq!(verdict(&default, DEDICATED, &sharing(1)), Verdict::Pass);
        assert_eq!(
            verdict(&default, DEDICATED, &sharing(2)),
            Verdict::fail("at most 1 function(s) with one role", "2 have shop")
        );
        let two = spec(json!({"roles": {"maxFunctionsPerRole": 2}}));
        assert_eq!(word(&two, DEDICATED, &sharing(2)), "Pass");
        assert_eq!(word(&two, DEDICATED, &sharing(3)), "Fail");
    }

    #[test]
    fn exempt_roles_are_named_by_name_or_arn() {
        for glob in ["sho?", "shop", "arn:aws:iam::*:role/service/*"] {
            let spec = spec(json!({"roles": {"exemptRoles": ["other", glob]}}));
            assert_eq!(word(&spec, DEDICATED, &sharing(2)), "NotApplicable", "{glob}");
        }
        let other = spec(json!({"roles": {"exemptRoles": ["service"]}}));
        assert_eq!(word(&other, DEDICATED, &sharing(2)), "Fail");
        let problem = Compiled::new(spec(json!({"roles": {"exemptRoles": ["[a"]}})).roles.as_ref()).unwrap_err();
        assert_eq!(problem.field, "roles.exemptRoles");
    }
}
