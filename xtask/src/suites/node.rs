//! light-my-request's own tests by node:test, from npm.

use anyhow::Result;

use super::{Call, Leak, Place, Suite, after};

pub const SUITE: Suite = Suite {
    name: "node",
    package: "light-my-request 6.6.0",
    programs: &[("node", "nodejs"), ("npm", "npm")],
    prepare,
    call,
    tests,
    leak: "LT106",
};

/// With what its tests need, in the versions that it was tested with when it was published.
const FETCH: &str = "
echo '{\"private\": true}' > package.json
npm install --silent --ignore-scripts --no-audit --no-fund --omit=dev light-my-request@6.6.0 \
    set-cookie-parser@2.7.1 cookie@1.0.2 process-warning@4.0.1 form-data@4.0.4 undici@7.16.0 \
    form-auto-content@3.2.1 formdata-node@6.0.3 end-of-stream@1.4.4 express@4.21.2 \
    multer@1.4.5-lts.2";

const LEAK: &str = include_str!("leak/leak.test.js");

const FILES: [&str; 5] = ["async-await", "index", "request", "response", "stream"];

fn prepare(place: &Place) -> Result<()> {
    place.once("fetched", FETCH)?;
    place.write("leak.test.js", LEAK)
}

fn call(place: &Place, leak: Leak) -> Result<Call> {
    let mut words = vec!["node".to_owned(), "--test".to_owned()];
    words.extend(FILES.iter().map(|file| format!("test/{file}.test.js")));
    if leak == Leak::In {
        words.push(place.path("leak.test.js").display().to_string());
    }
    Ok(Call::new(
        place.path("node_modules/light-my-request"),
        words,
    ))
}

fn tests(output: &str) -> Option<u64> {
    after(output, "# pass ").or_else(|| after(output, "ℹ pass "))
}
