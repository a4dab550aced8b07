use simqat::kernel::pool::{Window, average_backward, average_forward, max_backward, max_forward};

use super::{family, tensor};

#[test]
fn pooling() {
    family("pooling");
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let identity = Window::square(1);
    let x = tensor([1, 1, 2, 2], &[0.0; 4]);
    assert!(max_forward(&x, &Window::square(3), false).is_err());
    assert!(average_forward(&tensor([4], &[0.0; 4]), &Window::square(2), false).is_err());
    // A gradient that is not of the pooled shape would be read past its end.
    let dy = tensor([1, 1, 2, 2], &[0.0; 4]);
    let (_, places) = max_forward(&dy, &identity, false).unwrap();
    for shape in [[1, 1, 6, 6], [2, 1, 4, 4], [1, 3, 4, 4]] {
        assert!(max_backward(&dy, &places, None, shape, &Window::square(2)).is_err(), "{shape:?}");
        assert!(average_backward(&dy, shape, &Window::square(2), false).is_err(), "{shape:?}");
    }
    let y = tensor([1, 1, 1, 1], &[0.0]);
    assert!(max_backward(&dy, &places, Some(&y), [1, 1, 4, 4], &Window::square(2)).is_err());
}
