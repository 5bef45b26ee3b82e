@test "leak" {
  mkfifo "$BATS_TMPDIR/leak-$$"
}
