//! Values → parameters in text format, which the server parses as the type of each parameter.

use std::error::Error;
use std::fmt;

use bytes::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use crate::catalog::{BoundQuery, Parameter};

/// Returns the parameters of a sheet's statement, each with its type. `parameters` holds a type and the index of a variable each.
pub(super) fn bind_parameters<'q>(
    parameters: &'q [(Type, usize)],
    query: &'q BoundQuery,
    sheet: usize,
) -> impl ExactSizeIterator<Item = (AsText<'q>, Type)> {
    parameters.iter().map(move |(kind, variable)| {
        let parameter = &query.parameters(sheet)[*variable];
        (AsText(parameter), kind.clone())
    })
}

/// A parameter in text format.
pub(super) struct AsText<'q>(pub(super) &'q Parameter);

impl ToSql for AsText<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.0 {
            Parameter::Null => return Ok(IsNull::Yes),
            Parameter::One(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Parameter::List(values) => {
                let texts = values.iter().map(ToString::to_string);
                let list = match *kind {
                    Type::JSON | Type::JSONB => serde_json::Value::from_iter(texts).to_string(),
                    _ => array(texts),
                };
                out.extend_from_slice(list.as_bytes());
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// Hides the value: the driver logs parameters.
impl fmt::Debug for AsText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsText(..)")
    }
}

/// Formats an array: PostgreSQL's manual, "Array Input and Output Syntax". All elements are quoted, which is always
/// valid.
fn array(texts: impl Iterator<Item = String>) -> String {
    let quote = |text: String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let quoted: Vec<String> = texts.map(quote).collect();
    format!("{{{}}}", quoted.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Value;

    fn encoded(parameter: &Parameter, kind: &Type) -> String {
        let mut out = BytesMut::new();
        let null = AsText(parameter).to_sql_checked(kind, &mut out);
        assert!(matches!(null, Ok(IsNull::No)));
        String::from_utf8(out.to_vec()).expect("UTF-8")
    }

    #[test]
    fn a_list_is_an_array_or_json_as_its_parameter_requires() {
        let values = ["a,b", "c\"d", "e\\f", "", "NULL"];
        let list = Parameter::List(values.map(|value| Value::Text(value.into())).to_vec());
        assert_eq!(
            encoded(&list, &Type::TEXT_ARRAY),
            r#"{"a,b","c\"d","e\\f","","NULL"}"#
        );
        assert_eq!(
            encoded(&list, &Type::JSONB),
            r#"["a,b","c\"d","e\\f","","NULL"]"#
        );
    }

    #[test]
    fn debug_hides_the_value() {
        let secret = Parameter::One(Value::Text("secret".into()));
        assert_eq!(format!("{:?}", AsText(&secret)), "AsText(..)");
    }
}
