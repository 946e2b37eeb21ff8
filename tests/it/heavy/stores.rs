//! A second implementation of S3's interface, which replaces objects where a request asks to create them.

use crate::harness::object_store::ObjectStore;
use crate::stored::{ALL, server};

#[test]
#[ignore = "needs JuiceFS: make test-engines"]
fn files_are_stored_in_juicefs() {
    for (bucket, test) in ALL {
        println!("{bucket}");
        test(server(ObjectStore::juicefs(), bucket));
    }
}
