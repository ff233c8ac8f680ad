use super::*;

#[test]
fn store_is_a_folder_or_a_bucket() {
    let folder = FileStoreLocation::Folder { path: PathBuf::from("/srv/files"), is_configured: true };
    assert_eq!(parse_location("file:///srv/files"), Some(folder));
    for (text, bucket, prefix) in [
        ("s3://bucket", "bucket", None),
        ("s3://bucket/", "bucket", None),
        ("s3://my.bucket-1/a/b/", "my.bucket-1", Some("a/b")),
    ] {
        let Some(FileStoreLocation::S3(config)) = parse_location(text) else { panic!("{text}") };
        assert_eq!((config.bucket.as_str(), config.prefix.as_deref()), (bucket, prefix));
    }
    for refused in [
        "",
        "/srv/files",
        "file://srv",
        "file:",
        "s3://",
        "s3:///x",
        "s3://b/../c",
        "s3://b//c",
        "s3://b c",
        "gs://b",
        "https://b",
    ] {
        assert_eq!(parse_location(refused), None, "{refused}");
    }
}

#[test]
fn link_bases_are_plain_web_addresses() {
    assert_eq!(parse_base("https://chat.example/").as_deref(), Some("https://chat.example"));
    assert_eq!(parse_base("http://h:8000/chat").as_deref(), Some("http://h:8000/chat"));
    for refused in ["chat.example", "ftp://h", "https://u:p@h", "https://h?x", "https://h/#x", "/x", ""] {
        assert_eq!(parse_base(refused), None, "{refused}");
    }
}
