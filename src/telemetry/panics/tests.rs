use super::*;

#[tokio::test]
async fn panic_message_is_not_reported() {
    let panicked = tokio::task::spawn_blocking(|| panic!("over {}", "a canary")).await.unwrap_err();
    assert!(panicked.to_string().contains("canary"), "{panicked}");
    assert_eq!(format!("{:#}", join_error(&panicked)), "a task panicked");
}
