//! Codes that are the largest of rows or of a batch, by the kernels of a device and by sorting.

use kernels::device::rows::{SparseRows, add_to_rows};
use microtome::tensor::{DType, Device, Tensor, floats};

use super::{apart, drawn, gpu, sorted_mask};

/// The k largest numbers above 0 of each row, or of all, with their zeros, by sorting.
fn sorted_codes(rows: &[Vec<f32>], k: usize, of_all: bool) -> Vec<f32> {
    let all: Vec<f32> = rows.concat();
    let mask = if of_all { sorted_mask(std::slice::from_ref(&all), k) } else { sorted_mask(rows, k) };
    all.iter().zip(mask).map(|(number, marked)| number.max(0.0) * marked).collect()
}

#[test]
fn the_largest_codes_of_rows_and_of_a_batch_are_those_that_sorting_finds() {
    let Some((device, _turn)) = gpu() else { return };
    // With few and many ties, more than there are above 0, as many rows as have several blocks, and more of a row than it has threads.
    for (turn, (count, width, k)) in
        [(3, 5, 2), (70, 40, 30), (300, 33, 4), (1100, 9, 2), (6, 3000, 300)].into_iter().enumerate()
    {
        let x = drawn(&[count, width], 200 + turn as u64);
        let bias = drawn(&[width], 300 + turn as u64);
        let [x, bias] = [x, bias].map(|t| if turn % 2 == 0 { t.round().unwrap() } else { t });
        let rows = x.broadcast_add(&bias).unwrap().to_vec2::<f32>().unwrap();
        let [x, bias] = [x, bias].map(|t| t.to_device(&device).unwrap());
        let eye = Tensor::eye(width, DType::F32, &device).unwrap();
        for of_all in [false, true] {
            let codes = if of_all {
                SparseRows::largest_of_all(&x, Some(&bias), k * count).unwrap()
            } else {
                SparseRows::largest_of_rows(&x, Some(&bias), k).unwrap()
            };
            let found: Vec<f32> = codes.times(&eye).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let k = if of_all { k * count } else { k };
            assert_eq!(found, sorted_codes(&rows, k, of_all), "{count} x {width}, k {k}, of all: {of_all}");
            let counts = codes.by_column().unwrap().counts().unwrap();
            let fired = |column: usize| found.chunks(width).filter(|row| row[column] != 0.0).count() as u32;
            assert_eq!(counts, (0..width).map(fired).collect::<Vec<_>>(), "{count} x {width}");
        }
    }
}

#[test]
fn codes_found_by_tensor_cores_are_the_largest() {
    let Some((device, _turn)) = gpu() else { return };
    let count = 150;
    let inner = 64;
    let width = 3000;
    let k = 8;
    // The second time one coordinate is large, as in activations of models, and the bound wider.
    for outlier in [1.0, 30.0] {
        let scale: Vec<f32> = (0..inner).map(|i| if i == 5 { outlier } else { 1.0 }).collect();
        let x = drawn(&[count, inner], 600).broadcast_mul(&Tensor::new(scale, &Device::Cpu).unwrap()).unwrap();
        let [x, weight, bias] =
            [x, drawn(&[width, inner], 601), drawn(&[width], 602)].map(|t| t.to_device(&device).unwrap());
        let eye = Tensor::eye(width, DType::F32, &device).unwrap();
        let dense = |codes: SparseRows| codes.times(&eye).unwrap();
        let found = dense(SparseRows::screened(&x, &weight, &bias, k).unwrap().expect("room for all candidates"));
        let pre = x.matmul(&weight.t().unwrap()).unwrap();
        let expected = dense(SparseRows::largest_of_rows(&pre, Some(&bias), k).unwrap());
        assert!(apart(&found, &expected) < 1e-5, "off by {}", apart(&found, &expected));
        let count_of = |t: &Tensor| floats(t).unwrap().iter().filter(|code| **code > 0.0).count();
        assert_eq!([&found, &expected].map(count_of), [count * k; 2]);
    }
}

#[test]
fn totals_of_columns_and_rows_added_to_others_are_those_of_dense_sums() {
    let Some((device, _turn)) = gpu() else { return };
    // The first columns have hundreds of entries, others none.
    let x = drawn(&[700, 40], 610).broadcast_add(&Tensor::arange(0_f32, 40.0, &Device::Cpu).unwrap()).unwrap();
    let codes = SparseRows::largest_of_rows(&x.to_device(&device).unwrap(), None, 3).unwrap();
    let eye = Tensor::eye(40, DType::F32, &device).unwrap();
    let expected = codes.times(&eye).unwrap().to_device(&Device::Cpu).unwrap().sum(0).unwrap();
    let found = codes.by_column().unwrap().totals(&codes.values).unwrap().to_device(&Device::Cpu).unwrap();
    assert!(apart(&found, &expected) < 1e-5, "off by {}", apart(&found, &expected));

    let table = drawn(&[50, 300], 611);
    let added = drawn(&[3, 300], 612);
    let names = Tensor::new(&[7_u32, 49, 0], &Device::Cpu).unwrap();
    let expected = table.index_add(&names, &added, 0).unwrap();
    let [found, names, added] = [table, names, added].map(|t| t.to_device(&device).unwrap());
    add_to_rows(&found, &names, &added).unwrap();
    let found = found.to_device(&Device::Cpu).unwrap();
    assert_eq!(found.to_vec2::<f32>().unwrap(), expected.to_vec2::<f32>().unwrap());
}
