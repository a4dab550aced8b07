//! The pickle files of CIFAR-10's Python version, read without Python: protocol 2, a dictionary with the labels as a list
//! and the pictures as one NumPy array. Strict: an instruction or an object that those files do not have is refused, and
//! nothing is ever called.
//!
//! The instructions are described in Python's `pickletools`.

use std::result::Result;

/// Pictures and labels of such a file.
pub(super) struct PickledBatch<'a> {
    /// [N, columns], row by row.
    pub data: &'a [u8],
    /// How long a row is.
    pub columns: usize,
    /// `[N]`
    pub labels: Vec<u32>,
}

/// What stands on the stack of a pickle. Byte strings stay where they are in the file.
enum Value<'a> {
    /// Where a list of items begins.
    Mark,
    /// None, True and False, which mean nothing here.
    Constant,
    Int(i64),
    Bytes(&'a [u8]),
    /// A list or a tuple.
    Items(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    /// A function or class, by name.
    Global(&'a [u8]),
    /// What a function would make of its arguments, and the state that it is then given.
    Object {
        made_by: &'a [u8],
        arguments: Vec<Value<'a>>,
        state: Vec<Value<'a>>,
    },
}

/// How deep lists, tuples and dictionaries may stand in each other. Those files need three levels; without a limit, a chain
/// of a million would overflow the stack where it is let go.
const MOST_LEVELS: usize = 8;

impl Value<'_> {
    /// Levels of what it contains; 0 for what contains nothing.
    fn levels(&self) -> usize {
        let most = |values: &[Value]| values.iter().map(Value::levels).max().unwrap_or(0);
        match self {
            Value::Items(items) => 1 + most(items),
            Value::Dict(entries) => {
                1 + entries.iter().map(|(key, value)| key.levels().max(value.levels())).max().unwrap_or(0)
            }
            Value::Object { arguments, state, .. } => 1 + most(arguments).max(most(state)),
            _ => 0,
        }
    }
}

/// What is about to be put into something, where it is not too deep for that.
fn shallow<'a>(items: Vec<Value<'a>>, at: usize) -> Result<Vec<Value<'a>>, String> {
    match items.iter().any(|item| item.levels() >= MOST_LEVELS) {
        true => Err(format!(
            "the pickle has more than {MOST_LEVELS} levels at byte {at}, which CIFAR-10's files do not have"
        )),
        false => Ok(items),
    }
}

/// Reads such a file; an error is the reason, with the place where there is one.
pub(super) fn read(bytes: &[u8]) -> Result<PickledBatch<'_>, String> {
    let Value::Dict(entries) = run(bytes)? else { return Err("the pickle holds no dictionary".into()) };
    let find = |wanted: &[u8]| {
        let entry = entries.iter().find(|(key, _)| matches!(key, Value::Bytes(key) if *key == wanted));
        let missing = || format!("the pickle's dictionary has no \"{}\"", String::from_utf8_lossy(wanted));
        entry.map(|(_, value)| value).ok_or_else(missing)
    };
    let Value::Items(labels) = find(b"labels")? else { return Err("the pickle's labels are no list".into()) };
    let label = |value: &Value| match value {
        Value::Int(label) => u32::try_from(*label).map_err(|_| format!("the pickle has a label {label}")),
        _ => Err("the pickle has a label that is no number".into()),
    };
    let labels = labels.iter().map(label).collect::<Result<Vec<_>, _>>()?;
    let (data, rows, columns) = array(find(b"data")?)?;
    if rows != labels.len() {
        return Err(format!("the pickle has {rows} pictures and {} labels", labels.len()));
    }
    Ok(PickledBatch { data, columns, labels })
}

/// Bytes, rows and columns of a NumPy array of bytes, in C order.
fn array<'a>(value: &Value<'a>) -> Result<(&'a [u8], usize, usize), String> {
    let other = || "the pickle's data is no NumPy array of bytes with rows and columns".to_string();
    let Value::Object { made_by: b"numpy.core.multiarray._reconstruct", state, .. } = value else {
        return Err(other());
    };
    // As NumPy's ndarray.__reduce__ documents it: version, shape, type, whether columns come first, bytes.
    let [
        Value::Int(1),
        Value::Items(shape),
        Value::Object { made_by: b"numpy.dtype", arguments, .. },
        Value::Constant,
        Value::Bytes(data),
    ] = &state[..]
    else {
        return Err(other());
    };
    let ([Value::Int(rows), Value::Int(columns)], [Value::Bytes(b"u1"), ..]) = (&shape[..], &arguments[..])
    else {
        return Err(other());
    };
    match (usize::try_from(*rows), usize::try_from(*columns)) {
        (Ok(rows), Ok(columns)) if rows.checked_mul(columns) == Some(data.len()) => Ok((data, rows, columns)),
        _ => Err(format!("the pickle's array says {rows} x {columns} and has {} bytes", data.len())),
    }
}

/// Runs the instructions and gives what is left at the end.
fn run(bytes: &[u8]) -> Result<Value<'_>, String> {
    let mut input = Input { bytes, at: 0 };
    let mut stack: Vec<Value> = Vec::new();
    loop {
        let at = input.at;
        let instruction = input.take(1)?[0];
        let bad = || {
            format!(
                "the pickle is damaged at byte {at}: its stack does not have what 0x{instruction:02x} wants"
            )
        };
        match instruction {
            0x80 => match input.take(1)?[0] {
                2 => {}
                other => return Err(format!("the pickle is of protocol {other}, and CIFAR-10's are of 2")),
            },
            b'(' => stack.push(Value::Mark),
            b'N' | 0x88 | 0x89 => stack.push(Value::Constant),
            b'K' => stack.push(Value::Int(input.number(1)?)),
            b'M' => stack.push(Value::Int(input.number(2)?)),
            b'J' => stack.push(Value::Int(i64::from(input.number(4)? as u32 as i32))),
            b'U' => {
                let length = input.number(1)?;
                stack.push(Value::Bytes(input.take(length as usize)?));
            }
            b'T' => {
                let length = input.number(4)?;
                stack.push(Value::Bytes(input.take(length as usize)?));
            }
            b']' => stack.push(Value::Items(Vec::new())),
            b'}' => stack.push(Value::Dict(Vec::new())),
            // What is put away is never taken out again in these files, so there is no need to.
            b'q' => drop(input.take(1)?),
            b'r' => drop(input.take(4)?),
            b'c' => stack.push(Value::Global(input.global()?)),
            b'e' => {
                let items = shallow(since_mark(&mut stack).ok_or_else(bad)?, at)?;
                match stack.last_mut() {
                    Some(Value::Items(list)) => list.extend(items),
                    _ => return Err(bad()),
                }
            }
            b'u' => {
                let items = shallow(since_mark(&mut stack).ok_or_else(bad)?, at)?;
                let Some(Value::Dict(dict)) = stack.last_mut() else { return Err(bad()) };
                let mut items = items.into_iter();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    dict.push((key, value));
                }
            }
            b't' => {
                let items = shallow(since_mark(&mut stack).ok_or_else(bad)?, at)?;
                stack.push(Value::Items(items));
            }
            0x85..=0x87 => {
                let start = stack.len().checked_sub(usize::from(instruction - 0x84)).ok_or_else(bad)?;
                let items = shallow(stack.split_off(start), at)?;
                stack.push(Value::Items(items));
            }
            b'R' => match (stack.pop(), stack.pop()) {
                (Some(Value::Items(arguments)), Some(Value::Global(made_by))) => {
                    stack.push(Value::Object { made_by, arguments, state: Vec::new() });
                }
                _ => return Err(bad()),
            },
            b'b' => match (stack.pop(), stack.last_mut()) {
                (Some(Value::Items(given)), Some(Value::Object { state, .. })) => *state = given,
                _ => return Err(bad()),
            },
            b'.' => return stack.pop().ok_or_else(bad),
            other => {
                return Err(format!(
                    "the pickle has instruction 0x{other:02x} at byte {at}, which CIFAR-10's files do not have"
                ));
            }
        }
    }
}

/// Takes off what stands above the last mark, and the mark.
fn since_mark<'a>(stack: &mut Vec<Value<'a>>) -> Option<Vec<Value<'a>>> {
    let mark = stack.iter().rposition(|value| matches!(value, Value::Mark))?;
    let items = stack.split_off(mark + 1);
    stack.pop();
    Some(items)
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let taken = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| {
            let (there, wanted) = (self.bytes.len(), self.at.saturating_add(count));
            format!("the pickle ends after {there} bytes, and goes on at least to {wanted}: it is truncated; get it again")
        })?;
        self.at += count;
        Ok(taken)
    }

    /// A number of up to four bytes, the lowest first.
    fn number(&mut self, bytes: usize) -> Result<i64, String> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, &byte| number << 8 | i64::from(byte)))
    }

    /// Two lines, module and name; a dot between them instead of the line's end, for comparing.
    fn global(&mut self) -> Result<&'a [u8], String> {
        const KNOWN: [&[u8]; 3] = [b"numpy.core.multiarray._reconstruct", b"numpy.ndarray", b"numpy.dtype"];
        let (at, mut lines) = (self.at, 0);
        while lines < 2 {
            lines += usize::from(self.take(1)?[0] == b'\n');
        }
        let text = &self.bytes[at..self.at - 1];
        let same = |known: &&[u8]| {
            known.len() == text.len()
                && std::iter::zip(*known, text).all(|(k, t)| k == t || (*k, *t) == (b'.', b'\n'))
        };
        KNOWN.into_iter().find(same).ok_or_else(|| {
            format!(
                "the pickle asks for {:?} at byte {at}, which CIFAR-10's files do not",
                String::from_utf8_lossy(text)
            )
        })
    }
}
