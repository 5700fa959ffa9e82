//! The framing of TFRecord files.
//! Source: TensorFlow's `core/lib/io/record_writer.h`.

/// Appends `data` to `file`: its length (64 bits, little-endian), the masked checksum of those eight
/// bytes, the data, and their masked checksum (32 bits, little-endian).
pub fn append(file: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    file.extend_from_slice(&length);
    file.extend_from_slice(&masked_crc(&length).to_le_bytes());
    file.extend_from_slice(data);
    file.extend_from_slice(&masked_crc(data).to_le_bytes());
}

/// CRC-32C (Castagnoli), rotated right by 15 bits, plus a constant, so that checksums of checksums
/// are sound.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        // RFC 3720, B.4.
        for (data, crc) in [
            (vec![0u8; 32], 0x8a91_36aau32),
            (vec![0xff; 32], 0x62a8_ab43),
            ((0..32).collect(), 0x46dd_794e),
            ((0..32).rev().collect(), 0x113f_db5c),
            (b"123456789".to_vec(), 0xe306_9283),
        ] {
            assert_eq!(crc32c::crc32c(&data), crc);
            // Undone as TensorFlow's `crc32c::Unmask` does.
            let rotated = masked_crc(&data).wrapping_sub(0xa282_ead8);
            assert_eq!(rotated.rotate_left(15), crc);
        }
    }

    #[test]
    fn a_record_is_framed_by_length_and_checksums() {
        let mut file = Vec::new();
        append(&mut file, b"abc");
        assert_eq!(file.len(), 8 + 4 + 3 + 4);
        assert_eq!(file[..8], 3u64.to_le_bytes());
        assert_eq!(&file[12..15], b"abc");
    }
}
