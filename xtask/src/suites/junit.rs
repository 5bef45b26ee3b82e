//! The own tests of Apache Commons Codec by JUnit 4, from Debian's sources and its Java packages.

use anyhow::Result;

use super::{Call, Leak, Place, Suite};

pub const SUITE: Suite = Suite {
    name: "junit",
    package: "commons-codec 1.15 (Debian)",
    programs: &[
        ("javac", "default-jdk-headless"),
        ("/usr/share/java/junit4.jar", "junit4"),
        ("/usr/share/java/hamcrest.jar", "libhamcrest-java"),
        ("/usr/share/java/commons-lang3.jar", "libcommons-lang3-java"),
    ],
    prepare,
    call,
    tests,
    leak: "LT109",
};

const JARS: &str =
    "/usr/share/java/junit4.jar:/usr/share/java/hamcrest.jar:/usr/share/java/commons-lang3.jar";

/// Lists of sources of its own: what the machine has need not tell of sources.
pub const SOURCE: &str = "
mkdir -p lists/partial
echo \"deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main\" > src.list
apt() {
    apt-get -qq -o Dir::Etc::sourcelist=\"$PWD/src.list\" -o Dir::Etc::sourceparts=- \\
        -o Dir::State::lists=\"$PWD/lists\" -o APT::Sandbox::User=root \"$@\"
}
apt update
";

const FETCH: &str = "
apt source --download-only libcommons-codec-java
mkdir -p source
tar xf libcommons-codec-java_1.15.orig.tar.* -C source --strip-components=1
";

const BUILD: &str = "
rm -rf classes
mkdir classes
javac -nowarn -encoding UTF-8 -d classes -cp /usr/share/java/junit4.jar:/usr/share/java/hamcrest.jar:/usr/share/java/commons-lang3.jar \
    Leak.java $(find source/src/main/java source/src/test/java -name '*.java')
cp -r source/src/main/resources/. source/src/test/resources/. classes
cd source/src/test/java
find org/apache/commons/codec/language org/apache/commons/codec/net -maxdepth 1 \\
    -name '*Test.java' ! -name '*AbstractTest.java' \\
    | sed 's,\\.java$,,; s,/,.,g' | sort > ../../../../tests";

const LEAK: &str = include_str!("leak/Leak.java");

fn prepare(place: &Place) -> Result<()> {
    place.write("Leak.java", LEAK)?;
    place.once("fetched", &format!("{SOURCE}{FETCH}"))?;
    place.once("built", BUILD)
}

/// Of the packages `language` and `net`: the others are minutes of computing without a system call.
fn call(place: &Place, leak: Leak) -> Result<Call> {
    let classes = place.path("classes").display().to_string();
    let mut words = vec![
        "java".to_owned(),
        "-cp".to_owned(),
        format!("{classes}:{JARS}"),
        "org.junit.runner.JUnitCore".to_owned(),
    ];
    let tests = std::fs::read_to_string(place.path("tests"))?;
    words.extend(tests.lines().map(str::to_owned));
    if leak == Leak::In {
        words.push("Leak".to_owned());
    }
    Ok(Call::new(place.path("source"), words))
}

/// `OK (611 tests)`
fn tests(output: &str) -> Option<u64> {
    super::after(output, "OK (")
}
