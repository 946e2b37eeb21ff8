//! A second implementation of S3's interface, which replaces objects where a request asks to create them.

use crate::check_store::{STEPS, check};
use crate::harness::object_store::ObjectStore;
use crate::single_use::refused_by_a_store_that_overwrites;
use crate::stored::{ALL, server};

#[test]
#[ignore = "needs JuiceFS: make test-engines"]
fn files_are_stored_in_juicefs() {
    for (bucket, test) in ALL {
        println!("{bucket}");
        test(server(ObjectStore::juicefs(), bucket));
    }
}

#[test]
#[ignore = "needs JuiceFS: make test-engines"]
fn the_check_of_a_store_warns_that_juicefs_overwrites() {
    let checked = check(&ObjectStore::juicefs().bucket("check-store"));
    assert_eq!(checked.code, Some(0), "{}", checked.output);
    assert_eq!(checked.steps("warning"), ["conditional create"]);
    assert!(checked.output.contains("ROWLINK_REDIS_URL"));
    assert_eq!(checked.steps("ok").len(), STEPS.len() - 1);
}

#[test]
#[ignore = "needs JuiceFS: make test-engines"]
fn a_store_that_overwrites_records_no_use_of_a_link() {
    refused_by_a_store_that_overwrites(&ObjectStore::juicefs().bucket("uses"));
}
