//! Page tools that replies may call: a file with their declarations.

use serde::Deserialize;
use serde_json::Value;

use super::error::ConfigError;
use super::reader::Reader;

/// Most tools in the file.
const MAX_TOOLS: usize = 32;

/// A tool that runs in the page.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTool {
    /// Name: letters, digits, `_` and `-`, at most 64.
    pub name: String,
    /// Description for the model.
    pub description: String,
    /// JSON Schema of the arguments: an object.
    pub parameters: Value,
}

/// Reads the file that `CLIENT_TOOLS_FILE` names: a JSON array of tools.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Vec<ClientTool>, ConfigError> {
    let Some(path) = reader.text("CLIENT_TOOLS_FILE") else { return Ok(Vec::new()) };
    let invalid_file =
        |what: String| ConfigError::File { name: "CLIENT_TOOLS_FILE", path: path.clone(), what };
    let text = std::fs::read_to_string(&path).map_err(|error| invalid_file(error.to_string()))?;
    parse(&text).map_err(invalid_file)
}

fn parse(text: &str) -> Result<Vec<ClientTool>, String> {
    let tools: Vec<ClientTool> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if tools.len() > MAX_TOOLS {
        return Err(format!("it has more than {MAX_TOOLS} tools"));
    }
    for (n, tool) in tools.iter().enumerate() {
        let character = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if !(1..=64).contains(&tool.name.len()) || !tool.name.bytes().all(character) {
            return Err(format!("tool {} has a name that is not 1 to 64 letters, digits, `_` or `-`", n + 1));
        }
        if !tool.parameters.is_object() {
            return Err(format!("the parameters of `{}` are not a JSON Schema of an object", tool.name));
        }
        if tools[..n].iter().any(|other| other.name == tool.name) {
            return Err(format!("there are two tools with the name `{}`", tool.name));
        }
    }
    Ok(tools)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_read_and_wrong_ones_are_named() {
        let good =
            r#"[{"name": "open_map", "description": "Opens the map", "parameters": {"type": "object"}}]"#;
        assert_eq!(parse(good).unwrap()[0].name, "open_map");
        assert_eq!(parse("[]"), Ok(Vec::new()));
        for (text, says) in [
            ("[", "EOF"),
            (r#"[{"name": "a b", "description": "", "parameters": {}}]"#, "tool 1 has a name"),
            (r#"[{"name": "a", "description": "", "parameters": []}]"#, "the parameters of `a`"),
            (r#"[{"name": "a", "description": "", "parameters": {}, "x": 1}]"#, "unknown field"),
            (
                r#"[{"name": "a", "description": "", "parameters": {}}, {"name": "a", "description": "", "parameters": {}}]"#,
                "two tools",
            ),
        ] {
            let invalid_file = parse(text).unwrap_err();
            assert!(invalid_file.contains(says), "{text}: {invalid_file}");
        }
    }
}
