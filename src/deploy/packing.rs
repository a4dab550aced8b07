//! Codes of few bits, several in a byte.

/// Codes in a byte: four of 2 bits, two of up to 4; more bits take a byte each.
pub(super) fn per_byte(bits: u32) -> usize {
    match bits {
        ..=2 => 4,
        3..=4 => 2,
        _ => 1,
    }
}

/// Rows of so many codes, in two's complement, the first in the lowest bits; each row begins a byte.
pub(super) fn pack(codes: &[i8], row: usize, bits: u32) -> Vec<u8> {
    let count = per_byte(bits);
    let width = 8 / count;
    let mask = ((1u16 << width) - 1) as u8;
    let byte = |codes: &[i8]| {
        codes.iter().enumerate().fold(0, |byte, (place, &code)| byte | (code as u8 & mask) << (place * width))
    };
    codes.chunks(row).flat_map(|row| row.chunks(count).map(byte)).collect()
}

/// What [`pack`] made of `rows` rows; nothing where the bytes are not so many.
pub(super) fn unpack(bytes: &[u8], rows: usize, row: usize, bits: u32) -> Option<Vec<i8>> {
    let count = per_byte(bits);
    let width = 8 / count;
    if row == 0 || Some(bytes.len()) != row.div_ceil(count).checked_mul(rows) {
        return None;
    }
    // Up to the top of the byte, and back with the sign.
    let code = |byte: u8, place: usize| ((byte << (8 - width * (place + 1))) as i8) >> (8 - width);
    let rows = bytes.chunks(row.div_ceil(count));
    Some(rows.flat_map(|bytes| (0..row).map(move |k| code(bytes[k / count], k % count))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_from_rows_of_any_length() {
        for bits in 2..=8u32 {
            let half = 1i32 << (bits - 1);
            for row in 1..=9 {
                let codes: Vec<i8> =
                    (0..row * 3).map(|k| ((k as i32 * 5) % (2 * half) - half) as i8).collect();
                let packed = pack(&codes, row, bits);
                assert_eq!(packed.len(), row.div_ceil(per_byte(bits)) * 3);
                assert_eq!(unpack(&packed, 3, row, bits), Some(codes));
            }
        }
    }

    #[test]
    fn the_first_code_is_in_the_lowest_bits() {
        assert_eq!(pack(&[1, -1, 0, -2, 1], 5, 2), [0b10_00_11_01, 0b01]);
        assert_eq!(pack(&[-8, 7, 1], 3, 4), [0x78, 0x01]);
    }

    #[test]
    fn bytes_that_are_too_few_or_too_many_are_no_rows() {
        assert_eq!(unpack(&[0; 5], 3, 4, 4), None);
        assert_eq!(unpack(&[0; 7], 3, 4, 4), None);
        assert_eq!(unpack(&[], 3, 0, 4), None);
    }
}
