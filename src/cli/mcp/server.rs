//! The MCP server: lists the tools and runs their calls.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ErrorData, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::credential::Credentials;
use super::deployment::Deployment;
use super::errors::ToolError;
use super::tools::{self, Definition, INSTRUCTIONS};

/// The most calls that run at the same time. Others wait, for a limited time: each takes as long as its requests.
const CALLS_MAX: usize = 8;
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The server. Its clones share the limit of calls.
#[derive(Clone)]
pub(super) struct McpServer {
    deployment: Arc<Deployment>,
    credentials: Arc<Credentials>,
    calls: Arc<Semaphore>,
}

impl McpServer {
    pub(super) fn new(deployment: Deployment, credentials: Credentials) -> McpServer {
        McpServer {
            deployment: Arc::new(deployment),
            credentials: Arc::new(credentials),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
        }
    }

    /// Returns the tools that callers of this server may use.
    fn tools(&self) -> impl Iterator<Item = &'static Definition> + use<> {
        let reads_files = self.credentials.is_of_one_user();
        let tools: &'static [Definition] = &tools::ALL;
        tools
            .iter()
            .filter(move |tool| reads_files || !tool.reads_files)
    }

    fn definition(&self, name: &str) -> Option<&'static Definition> {
        self.tools().find(|tool| tool.name == name)
    }
}

impl ServerHandler for McpServer {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("rowlink", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.definition(name).map(Definition::tool)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.tools().map(Definition::tool);
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    /// Runs a tool on a thread of its own: its requests block. A call that is cancelled goes on to the end of its requests.
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = self.definition(&request.name) else {
            return Err(ErrorData::invalid_params("unknown tool", None));
        };
        let credential = match self.credentials.of_call(&context) {
            Ok(credential) => credential,
            Err(error) => return Ok(error.into_result().into()),
        };
        let Ok(permit) = timeout(WAIT_MAX, self.calls.clone().acquire_owned()).await else {
            let error = "this server is busy; try again later".to_owned();
            return Ok(ToolError::Other(error).into_result().into());
        };
        let deployment = self.deployment.clone();
        let arguments = request.arguments.unwrap_or_default();
        let call = spawn_blocking(move || {
            // Kept by the thread: the future may be dropped before.
            let _permit = permit;
            (tool.run)(&deployment.caller(credential), arguments)
        });
        let done = call.await.unwrap_or_else(|_| {
            let error = "this server has an error; report it".to_owned();
            Err(ToolError::Other(error))
        });
        Ok(done.unwrap_or_else(ToolError::into_result).into())
    }
}
