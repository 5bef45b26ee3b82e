#[test]
fn leak() {
    std::process::Command::new("sleep").arg("600").spawn().unwrap();
}
