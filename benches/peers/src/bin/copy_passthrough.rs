//! The strongest peer: a handler that passes `COPY … CSV` through, with the same driver and framework
//! and a similar pool. It cannot bind parameters and verifies nothing.
//!
//! `copy_passthrough ADDRESS DATABASE_URL QUERY`

use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer, error};
use deadpool::managed::{Manager, Metrics, Pool, RecycleResult};
use futures_util::StreamExt as _;
use tokio_postgres::{Client, Error, NoTls};

struct Database(String);

impl Manager for Database {
    type Type = Client;
    type Error = Error;

    async fn create(&self) -> Result<Client, Error> {
        let (client, connection) = tokio_postgres::connect(&self.0, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn recycle(&self, _: &mut Client, _: &Metrics) -> RecycleResult<Error> {
        Ok(())
    }
}

async fn export(
    pool: Data<Pool<Database>>,
    query: Data<String>,
) -> Result<HttpResponse, actix_web::Error> {
    let client = pool.get().await.map_err(error::ErrorServiceUnavailable)?;
    let copy = format!("copy ({}) to stdout (format csv, header)", query.as_str());
    let rows = client.copy_out(copy.as_str()).await;
    let rows = rows.map_err(error::ErrorInternalServerError)?;
    // Keeps the connection out of the pool until the rows have ended.
    let rows = rows.inspect(move |_| {
        let _ = &client;
    });
    Ok(HttpResponse::Ok().content_type("text/csv").streaming(rows))
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, url, query] = arguments.as_slice() else {
        panic!("expected ADDRESS DATABASE_URL QUERY");
    };
    let pool: Result<Pool<Database>, _> = Pool::builder(Database(url.clone())).max_size(16).build();
    let (pool, query) = (Data::new(pool.expect("a pool")), Data::new(query.clone()));
    HttpServer::new(move || {
        let app = App::new().app_data(pool.clone()).app_data(query.clone());
        app.default_service(web::to(export))
    })
    // Otherwise the end of a small file waits 40 ms.
    .tcp_nodelay(true)
    .bind(address)?
    .run()
    .await
}
