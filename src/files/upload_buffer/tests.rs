use super::*;

#[tokio::test]
async fn chunks_are_joined_in_memory_and_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    for (chunk, count) in [(10, 3), (100_000, 7), (MAX_CHUNK_BYTES, 2), (MAX_CHUNK_BYTES + 1, 1)] {
        let mut buffer = UploadBuffer::new(1_000_000);
        let mut expected = Vec::new();
        for n in 0..count {
            let bytes = vec![u8::try_from(n).unwrap(); chunk];
            buffer.push(Some(folder.path()), &bytes).await.unwrap();
            expected.extend(bytes);
        }
        assert_eq!(buffer.size(), u64::try_from(expected.len()).unwrap());
        assert_eq!(buffer.finish().await.unwrap().bytes, expected);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the temp file has a name");
}

#[tokio::test]
async fn hash_is_that_of_the_bytes() {
    let mut buffer = UploadBuffer::new(3);
    buffer.push(None, b"abc").await.unwrap();
    assert_eq!(
        buffer.finish().await.unwrap().sha256,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[tokio::test]
async fn upload_one_byte_over_limit_is_rejected() {
    let mut buffer = UploadBuffer::new(4);
    buffer.push(None, b"abcd").await.unwrap();
    assert!(matches!(buffer.push(None, b"e").await, Err(UploadError::TooLarge { limit: 4 })));
}
