//! The comparisons of `tests/kit`, by which all other tests judge numbers: what they must not let pass.

use kit::{close, far, far_relative, largest, within};
use microtome::tensor::{Device, Tensor};

#[test]
fn the_largest_difference_is_found_in_lists_tensors_and_json() {
    assert_eq!(far([1.0, 2.0, 3.0], [1.0, 2.5, 3.25]), 0.5);
    let tensor = Tensor::new(&[[1_f32, -4.0], [0.0, 2.0]], &Device::Cpu).unwrap();
    assert_eq!(far(&tensor, [[1.0, -2.0], [0.0, 2.0]]), 2.0);
    assert_eq!(far_relative(&tensor, [[1.0, -2.0], [0.0, 1.0]]), 1.0);
    assert_eq!((largest(&tensor), largest([0.0; 0])), (4.0, 0.0));
    assert_eq!(far(serde_json::json!([1, 2.5]), [1.0, 2.0]), 0.5);
}

#[test]
fn nan_and_infinity_are_near_themselves_alone() {
    let [nan, infinity] = [f64::NAN, f64::INFINITY];
    assert_eq!(far([nan, infinity], [nan, infinity]), 0.0);
    assert!(far([nan, 0.0], [0.0, 0.0]).is_nan() && far(None, 0.0).is_nan() && largest([1.0, nan, 0.0]).is_nan());
    assert!(close([nan, infinity], [nan, infinity], 1e-9));
    assert!(!close(nan, 0.0, 1e9) && !close(0.0, infinity, 1e9) && !close(infinity, -infinity, 1e9));
}

#[test]
fn bounds_are_relative_and_absolute() {
    assert!(within(101.0, 100.0, 0.01, 0.0) && !within(101.5, 100.0, 0.01, 0.0));
    assert!(within(0.5, 0.0, 0.0, 0.5) && !within(0.75, 0.0, 0.0, 0.5));
    assert!(close(2.25, 2.0, 0.125) && !close(2.5, 2.0, 0.125));
}

#[test]
#[should_panic(expected = "the shapes found and expected")]
fn another_shape_is_no_difference_of_numbers() {
    far([1.0, 2.0], [1.0]);
}
