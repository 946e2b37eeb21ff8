//! No file that the server reads again makes it panic, and each error names an existing line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rowlink::auth::ApiKeys;
use rowlink::config::revocations_file;
use rowlink_link::Keyring;

fuzz_target!(|text: &str| {
    let lines = 1 + text.matches('\n').count();
    let _ = Keyring::parse(text);
    for errors in [ApiKeys::parse(text).err(), revocations_file::parse(text).err()] {
        for error in errors.unwrap_or_default() {
            assert!((1..=lines).contains(&error.line), "{error}");
        }
    }
});
