//! Values → parameters, as text that the server reads as the type it gave each parameter.

use std::error::Error;
use std::fmt;

use bytes::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use crate::catalog::Parameter;

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

/// The driver logs parameters; the values are nobody's business.
impl fmt::Debug for AsText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsText(..)")
    }
}

/// An array's text: PostgreSQL's manual, "Array Input and Output Syntax". Quotes do no harm where
/// they are not needed.
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
    fn a_list_is_an_array_or_json_where_that_is_asked_for() {
        let values = ["a,b", "c\"d", "e\\f", "", "NULL"];
        let list = Parameter::List(values.map(|it| Value::Text(it.into())).to_vec());
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
    fn a_value_s_debug_says_nothing() {
        let secret = Parameter::One(Value::Text("secret".into()));
        assert_eq!(format!("{:?}", AsText(&secret)), "AsText(..)");
    }
}
