//! Checks that every response is documented in `openapi.yaml`.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::Answer;

/// The parsed `openapi.yaml`.
pub struct Contract {
    document: Value,
}

impl Contract {
    pub fn shared() -> &'static Contract {
        static CONTRACT: OnceLock<Contract> = OnceLock::new();
        CONTRACT.get_or_init(|| {
            let text = include_str!("../../../openapi.yaml");
            Contract {
                document: serde_saphyr::from_str(text).expect("openapi.yaml is YAML"),
            }
        })
    }

    /// Panics unless the status, type, headers and body are documented. A path that the contract lacks must be unknown
    /// to the server too.
    pub fn check(&self, method: &str, path: &str, answer: &Answer) {
        let context = format!(
            "{method} {path} → {}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body[..answer.body.len().min(500)])
        );
        let Some(template) = template(path) else {
            assert_eq!(answer.problem(), (404, "unknown-path".into()), "{context}");
            return;
        };
        let operation = &self.document["paths"][template][method.to_lowercase()];
        if operation.is_null() {
            assert_eq!(
                answer.problem(),
                (405, "method-not-allowed".into()),
                "{context}"
            );
            self.check_schema(
                &json!({"$ref": "#/components/schemas/Problem"}),
                &answer.json(),
                &context,
            );
            assert!(answer.headers.contains_key("allow"), "{context}");
            return;
        }
        let response = self.resolve(&operation["responses"][answer.status.to_string()]);
        assert!(!response.is_null(), "not documented: {context}");
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let present = answer.headers.contains_key(name.to_lowercase());
            assert!(
                present || header["required"] != true,
                "no {name}: {context}"
            );
        }
        if method == "HEAD" {
            assert!(answer.body.is_empty(), "{context}");
            return;
        }
        let Some(content) = response["content"].as_object() else {
            assert!(answer.body.is_empty(), "{context}");
            return;
        };
        let content_type = answer.header("content-type");
        let media_type = content_type.split(';').next().unwrap();
        let content = content
            .get(media_type)
            .or_else(|| content.get("*/*"))
            .unwrap_or_else(|| panic!("type {media_type} is not documented: {context}"));
        // NDJSON is not one JSON value, and a compressed or partial body is none.
        let is_json = answer.status != 206
            && ["application/json", "application/problem+json"].contains(&media_type);
        if is_json && !answer.headers.contains_key("content-encoding") {
            self.check_schema(&content["schema"], &answer.json(), &context);
        }
    }

    fn check_schema(&self, schema: &Value, body: &Value, context: &str) {
        let mut root = schema.clone();
        root["components"] = self.document["components"].clone();
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&root)
            .expect("a schema");
        if let Err(error) = validator.validate(body) {
            panic!("{error} at {}: {context}", error.instance_path());
        }
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(pointer) => self.document.pointer(&pointer[1..]).expect("a definition"),
            None => value,
        }
    }

    /// Returns every documented (method, path template, status).
    pub fn documented(&self) -> BTreeSet<(String, String, u16)> {
        let mut all = BTreeSet::new();
        for (path, operations) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                for status in operation["responses"]
                    .as_object()
                    .into_iter()
                    .flat_map(|it| it.keys())
                {
                    all.insert((method.to_uppercase(), path.clone(), status.parse().unwrap()));
                }
            }
        }
        all
    }

    /// Returns every documented problem code.
    pub fn codes(&self) -> BTreeSet<String> {
        let codes =
            &self.document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
        codes
            .as_array()
            .unwrap()
            .iter()
            .map(|code| code.as_str().unwrap().to_owned())
            .collect()
    }
}

/// Returns the path template of a path.
pub fn template(path: &str) -> Option<&'static str> {
    match path {
        "/v1/links" => Some("/v1/links"),
        "/v1/links/inspect" => Some("/v1/links/inspect"),
        "/v1/links/status" => Some("/v1/links/status"),
        "/v1/links/cancel" => Some("/v1/links/cancel"),
        "/metrics" => Some("/metrics"),
        "/v1/exports" => Some("/v1/exports"),
        "/healthz" => Some("/healthz"),
        "/readyz" => Some("/readyz"),
        "/openapi.yaml" => Some("/openapi.yaml"),
        "/exports" => Some("/exports"),
        _ => {
            if let Some(name) = path.strip_prefix("/exports/") {
                return match name {
                    name if name.contains('/') => None,
                    name if name.contains('.') => Some("/exports/{export}.{format}"),
                    _ => Some("/exports/{export}"),
                };
            }
            if let Some(name) = path.strip_prefix("/v1/files/") {
                let is_name = !name.is_empty() && !name.contains('/');
                return is_name.then_some("/v1/files/{export}");
            }
            let name = path.strip_prefix("/v1/exports/")?;
            match name {
                name if name.contains('/') => None,
                name if name.contains('.') => Some("/v1/exports/{export}.{format}"),
                _ => Some("/v1/exports/{export}"),
            }
        }
    }
}

#[test]
fn the_schema_check_can_fail() {
    let answer = |body: Value| Answer {
        status: 200,
        headers: [(
            "content-type".parse().unwrap(),
            "application/json".parse().unwrap(),
        )]
        .into_iter()
        .collect(),
        body: body.to_string().into_bytes(),
    };
    let contract = Contract::shared();
    contract.check("GET", "/healthz", &answer(json!({"status": "ok"})));
    let wrong = std::panic::catch_unwind(|| {
        contract.check(
            "GET",
            "/healthz",
            &answer(json!({"status": "ok", "more": 1})),
        );
    });
    assert!(wrong.is_err());
}
