//! Sparse rows on a device of NVIDIA, by the kernels of `cuda/rows.cu`.

use std::sync::Arc;

use candle_core::cuda_backend::cudarc::cublas::result::gemm_strided_batched_ex;
use candle_core::cuda_backend::cudarc::cublas::sys;
use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
use candle_core::{Device, Tensor};

use super::super::record::with_gradient;
use super::cuda::{NOTHING, THREADS, WARPS, at, by_blocks, device, launch, ptx, room, size, written};
use crate::Result;
use crate::error::err;

pub use super::cuda::has;

/// Numbers of a block where rows do not matter.
const STRETCH: usize = 4096;
/// Blocks that count the digits of all numbers together.
const COUNTING: usize = 1024;
const BINS: usize = 2048;
/// Capacity for candidates of a row, in times of k. (With k 32, some 40 to 60 of a random row are.)
const CANDIDATES: usize = 16;
/// Number of columns, in times of k, from which on a product in tf32 is worth it.
const WIDE: usize = 128;

/// Returns the address of the numbers of an optional tensor.
fn at_or_nothing(t: Option<&Tensor>) -> Result<u64> {
    t.map_or(Ok(NOTHING), at::<f32>)
}

/// Numbers to select from: rows of some width, without gaps.
struct Table<'a> {
    numbers: &'a Tensor,
    /// Bias that is added to each row.
    bias: Option<&'a Tensor>,
    rows: usize,
    width: usize,
    /// Whether only numbers above 0 are candidates.
    positive: bool,
    /// Bounds of the error of numbers that are known approximately: each row's factor of the columns' norms, and the
    /// norms.
    slack: Option<[&'a Tensor; 2]>,
}

/// Thresholds of the numbers that are taken: all above a cut, and of those that equal it the first.
struct Cuts {
    cuts: Tensor,
    /// Counts of each row where there is one cut for all: numbers above it, numbers that equal it, and equal ones of
    /// rows before it.
    counts: Option<[Tensor; 3]>,
}

impl Cuts {
    /// Returns the distance between the cuts of two rows.
    fn apart(&self) -> u32 {
        if self.counts.is_some() { 0 } else { 2 }
    }

    fn equal_before(&self) -> Result<u64> {
        self.counts.as_ref().map_or(Ok(NOTHING), |[_, _, before]| at::<u32>(before))
    }
}

impl Table<'_> {
    fn bounds(&self) -> Result<(u64, u64)> {
        self.slack.map_or(Ok((NOTHING, NOTHING)), |[slacks, norms]| Ok((at::<f32>(norms)?, at::<f32>(slacks)?)))
    }

    /// Finds the columns of at most `each` numbers of every row that may be at least its cut; None where a row has
    /// more.
    fn candidates(&self, cuts: &Cuts, each: usize) -> Result<Option<SparseRows>> {
        let (there, device) = (self.numbers.device(), device(self.numbers)?);
        let found = SparseRows::room(SparseRows::even(self.rows, each, there)?, self.rows * each, self.width)?;
        let over = room::<u32>(&device, &[1])?;
        let (numbers, bias, (norms, slacks)) = (at::<f32>(self.numbers)?, at_or_nothing(self.bias)?, self.bounds()?);
        let (cut, (starts, columns, _), flag) = (at::<u32>(&cuts.cuts)?, found.places()?, at::<u32>(&over)?);
        let (config, width) = (by_blocks(self.rows, THREADS)?, size(self.width)?);
        launch!(
            device, ROWS::"take_candidates", config, numbers, bias, norms, slacks, cut, starts, columns, flag, width
        );
        Ok(if over.to_vec1::<u32>()?[0] == 0 { Some(found) } else { None })
    }

    /// Finds the cuts of the k largest of each row.
    fn cuts_of_rows(&self, k: usize) -> Result<Cuts> {
        let device = device(self.numbers)?;
        let cuts = written::<u32>(&device, &[self.rows, 2])?;
        let (numbers, bias, to) = (at::<f32>(self.numbers)?, at_or_nothing(self.bias)?, at::<u32>(&cuts)?);
        let (norms, slacks) = self.bounds()?;
        let (width, k) = (size(self.width)?, size(k.min(self.width))?);
        let (config, positive) = (by_blocks(self.rows, THREADS)?, u32::from(self.positive));
        launch!(device, ROWS::"cuts_of_rows", config, numbers, bias, norms, slacks, to, width, k, positive);
        Ok(Cuts { cuts, counts: None })
    }

    /// Finds the cut of the k largest of all.
    fn cut_of_all(&self, k: usize) -> Result<Cuts> {
        let (there, device, count) = (self.numbers.device(), device(self.numbers)?, self.numbers.elem_count());
        let cut = Tensor::new(&[0, size(k.min(count))?], there)?;
        let digits = room::<u32>(&device, &[BINS])?;
        let (numbers, bias, to) = (at::<f32>(self.numbers)?, at_or_nothing(self.bias)?, at::<u32>(&cut)?);
        let (width, rows, positive) = (size(self.width)?, size(self.rows)?, u32::from(self.positive));
        let counted = at::<u32>(&digits)?;
        for pass in 0..3_u32 {
            let config = by_blocks(self.rows.min(COUNTING), THREADS)?;
            launch!(
                device, ROWS::"count_digits", config, numbers, bias, to, counted, count, width, rows, pass, positive
            );
            launch!(device, ROWS::"end_of_pass", by_blocks(1, THREADS)?, to, counted, pass);
        }
        let [above, equal] = [written::<u32>(&device, &[self.rows])?, written::<u32>(&device, &[self.rows])?];
        let (more, same, config) = (at::<u32>(&above)?, at::<u32>(&equal)?, by_blocks(self.rows, THREADS)?);
        launch!(device, ROWS::"count_beside_cut", config, numbers, bias, to, more, same, count, width, positive);
        let before = sums_before(&equal)?;
        Ok(Cuts { cuts: cut, counts: Some([above, equal, before]) })
    }

    /// Takes the numbers that the cuts select, into entries that begin where `starts` says.
    fn taken(&self, cuts: &Cuts, starts: Tensor, most: usize) -> Result<SparseRows> {
        let device = device(self.numbers)?;
        let found = SparseRows::room(starts, most, self.width)?;
        let (numbers, bias, cut) = (at::<f32>(self.numbers)?, at_or_nothing(self.bias)?, at::<u32>(&cuts.cuts)?);
        let (before, starts) = (cuts.equal_before()?, at::<u32>(&found.starts)?);
        let (columns, values) = (at::<u32>(&found.columns)?, at::<f32>(&found.values)?);
        let (width, apart, config) = (size(self.width)?, cuts.apart(), by_blocks(self.rows, THREADS)?);
        launch!(
            device, ROWS::"take_entries", config, numbers, bias, cut, before, starts, columns, values, width, apart
        );
        Ok(found)
    }
}

/// Returns the sum of all counts before each count, and at the end the sum of all.
fn sums_before(counts: &Tensor) -> Result<Tensor> {
    let (device, lists) = (device(counts)?, counts.elem_count());
    let starts = written::<u32>(&device, &[lists + 1])?;
    let (from, to) = (at::<u32>(counts)?, at::<u32>(&starts)?);
    launch!(device, ROWS::"sums_before", by_blocks(1, 1024)?, from, to, size(lists)?);
    Ok(starts)
}

/// Returns the norm of each row.
fn norms_of_rows(table: &Tensor) -> Result<Tensor> {
    let (device, (rows, width)) = (device(table)?, table.dims2()?);
    let norms = written::<f32>(&device, &[rows])?;
    let (from, to, config) = (at::<f32>(table)?, at::<f32>(&norms)?, by_blocks(rows.div_ceil(WARPS), THREADS)?);
    launch!(device, ROWS::"norms_of_rows", config, from, to, size(rows)?, size(width)?);
    Ok(norms)
}

/// Computes x W^T on tensor cores, which read the first 11 bits of each number.
fn product_in_tf32(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (device, (rows, inner), width) = (device(x)?, x.dims2()?, weight.dims()[0]);
    let product = written::<f32>(&device, &[rows, width])?;
    let signed = |number: usize| {
        i32::try_from(number).map_err(|_| err!(Memory, "expected less than 2^31 rows for a product, found {number}"))
    };
    let (m, n, k) = (signed(width)?, signed(rows)?, signed(inner)?);
    let (a, b, c) = (at::<f32>(weight)?, at::<f32>(x)?, at::<f32>(&product)?);
    let (one, zero) = (1.0_f32, 0.0_f32);
    let (float, turned, plain) =
        (sys::cudaDataType_t::CUDA_R_32F, sys::cublasOperation_t::CUBLAS_OP_T, sys::cublasOperation_t::CUBLAS_OP_N);
    let (compute, way) =
        (sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32, sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT_TENSOR_OP);
    let blas = device.cublas_handle();
    // SAFETY: matrices without gaps of these sizes, as cuBLAS reads them: by columns, so that a row is a column there.
    unsafe {
        gemm_strided_batched_ex(
            *blas.handle(),
            turned,
            plain,
            m,
            n,
            k,
            (&raw const one).cast(),
            a as *const _,
            float,
            k,
            0,
            b as *const _,
            float,
            k,
            0,
            (&raw const zero).cast(),
            c as *mut _,
            float,
            m,
            0,
            1,
            compute,
            way,
        )
    }
    .map_err(|e| err!(Argument, "a product on the device: {e}"))?;
    Ok(product)
}

/// Returns 1 where a number is among the k largest of its row `[.., width]`, else 0; of equal ones the first count.
pub fn mask_of_largest(numbers: &Tensor, k: usize) -> Result<Tensor> {
    let numbers = numbers.contiguous()?;
    let (device, count) = (device(&numbers)?, numbers.elem_count());
    let own = numbers.dims().last().copied().unwrap_or(1);
    // A single row has the whole device.
    let is_single = count == own && own > STRETCH;
    let width = if is_single { STRETCH } else { own };
    let table =
        Table { numbers: &numbers, bias: None, rows: count.div_ceil(width), width, positive: false, slack: None };
    let cuts = if is_single { table.cut_of_all(k)? } else { table.cuts_of_rows(k)? };
    let mask = written::<f32>(&device, numbers.dims())?;
    let (given, cut, before, marks) =
        (at::<f32>(&numbers)?, at::<u32>(&cuts.cuts)?, cuts.equal_before()?, at::<f32>(&mask)?);
    let config = by_blocks(table.rows, THREADS)?;
    launch!(device, ROWS::"mark_taken", config, given, cut, before, marks, count, size(width)?, cuts.apart());
    Ok(mask)
}

/// Rows with few numbers that are not 0.
pub struct SparseRows {
    /// Index of the first entry of each row, and the number of all entries: `[rows + 1]`.
    starts: Tensor,
    /// The column of each entry, in ascending order within a row.
    columns: Tensor,
    /// The value of each entry; 0 where a row did not need it.
    pub values: Tensor,
    rows: usize,
    width: usize,
}

impl SparseRows {
    fn room(starts: Tensor, most: usize, width: usize) -> Result<Self> {
        let (device, rows) = (device(&starts)?, starts.elem_count() - 1);
        size(most)?;
        let (columns, values) = (room::<u32>(&device, &[most])?, room::<f32>(&device, &[most])?);
        Ok(Self { starts, columns, values, rows, width })
    }

    /// Returns the beginnings of the rows' entries where each row has `each` of them.
    fn even(rows: usize, each: usize, device: &Device) -> Result<Tensor> {
        let starts: Vec<u32> = (0..=rows).map(|row| size(row * each)).collect::<Result<_>>()?;
        Ok(Tensor::new(starts, device)?)
    }

    /// Finds the k largest of each row of numbers above 0, where `bias` is added to every row.
    pub fn largest_of_rows(numbers: &Tensor, bias: Option<&Tensor>, k: usize) -> Result<Self> {
        let (rows, width) = numbers.dims2()?;
        let table = Table { numbers: &numbers.contiguous()?, bias, rows, width, positive: true, slack: None };
        let k = k.min(width);
        table.taken(&table.cuts_of_rows(k)?, Self::even(rows, k, numbers.device())?, rows * k)
    }

    /// Finds the k largest of each row of x W^T + bias that are above 0.
    ///
    /// For a wide W the products are first computed in tf32, on tensor cores. Their error is bounded by the norms of both
    /// rows, so that what may be among the k largest is known: those products alone are computed in f32, and the k largest
    /// chosen from them.
    pub fn largest_of_product(x: &Tensor, weight: &Tensor, bias: &Tensor, k: usize) -> Result<Self> {
        let is_wide = weight.dims()[0] >= WIDE * k;
        let found = if is_wide { Self::screened(x, weight, bias, k)? } else { None };
        found.map_or_else(|| Self::largest_of_rows(&x.matmul(&weight.t()?)?, Some(bias), k), Ok)
    }

    /// Finds the k largest of each row of x W^T + bias by products in tf32; None where the bound leaves too many
    /// candidates.
    pub fn screened(x: &Tensor, weight: &Tensor, bias: &Tensor, k: usize) -> Result<Option<Self>> {
        let (x, weight) = (x.contiguous()?, weight.contiguous()?);
        let ((rows, inner), width) = (x.dims2()?, weight.dims()[0]);
        // Tensor cores read the 11 first bits of a number: each factor is off by less than 2^-10 of it, and a product by 2^-9.
        // Both sums, there and here, are in f32.
        let share = 2_f64.powi(-9) + inner as f64 * 2_f64.powi(-22);
        let (norms, slacks) = (norms_of_rows(&weight)?, (norms_of_rows(&x)? * share)?);
        let nearly = product_in_tf32(&x, &weight)?;
        let table =
            Table { numbers: &nearly, bias: Some(bias), rows, width, positive: true, slack: Some([&slacks, &norms]) };
        let each = (CANDIDATES * k).min(width);
        let Some(candidates) = table.candidates(&table.cuts_of_rows(k)?, each)? else { return Ok(None) };
        let values = candidates.products(&x, &weight, Some(bias))?.reshape((rows, each))?;
        let mut found = Self::largest_of_rows(&values, None, k)?;
        let ((starts, columns, _), among) = (found.places()?, at::<u32>(&candidates.columns)?);
        let device = device(&values)?;
        launch!(device, ROWS::"columns_of_candidates", by_blocks(rows, 32)?, starts, columns, among, size(each)?);
        found.width = width;
        Ok(Some(found))
    }

    /// Finds the k largest of all numbers above 0, where `bias` is added to every row.
    pub fn largest_of_all(numbers: &Tensor, bias: Option<&Tensor>, k: usize) -> Result<Self> {
        let (rows, width) = numbers.dims2()?;
        let table = Table { numbers: &numbers.contiguous()?, bias, rows, width, positive: true, slack: None };
        let cuts = table.cut_of_all(k)?;
        let device = device(numbers)?;
        let lengths = written::<u32>(&device, &[rows])?;
        if let Some([above, equal, before]) = &cuts.counts {
            let (cut, to) = (at::<u32>(&cuts.cuts)?, at::<u32>(&lengths)?);
            let (above, equal, before) = (at::<u32>(above)?, at::<u32>(equal)?, at::<u32>(before)?);
            let config = by_blocks(rows.div_ceil(THREADS as usize), THREADS)?;
            launch!(device, ROWS::"lengths_of_rows", config, cut, above, equal, before, to, size(rows)?);
        }
        table.taken(&cuts, sums_before(&lengths)?, k.min(rows * width))
    }

    /// Takes the entries that are not 0, at most `most` of each row.
    fn of(dense: &Tensor, most: usize) -> Result<Self> {
        let (rows, width) = dense.dims2()?;
        let dense = dense.detach().contiguous()?;
        let found = Self::room(Self::even(rows, most, dense.device())?, rows * most, width)?;
        let (device, given) = (device(&dense)?, at::<f32>(&dense)?);
        let (starts, columns, values) = found.places()?;
        let config = by_blocks(rows, THREADS)?;
        launch!(device, ROWS::"compact_rows", config, given, starts, columns, values, size(width)?);
        Ok(found)
    }

    fn places(&self) -> Result<(u64, u64, u64)> {
        Ok((at::<u32>(&self.starts)?, at::<u32>(&self.columns)?, at::<f32>(&self.values)?))
    }

    /// Computes the product of these rows with a table `[width, wide]`.
    pub fn times(&self, table: &Tensor) -> Result<Tensor> {
        let (device, (_, wide)) = (device(table)?, table.dims2()?);
        let product = written::<f32>(&device, &[self.rows, wide])?;
        let (starts, columns, values) = self.places()?;
        let (rows, to, config) = (at::<f32>(table)?, at::<f32>(&product)?, by_blocks(self.rows, THREADS)?);
        launch!(device, ROWS::"weighted_sums", config, starts, columns, values, rows, to, size(wide)?);
        Ok(product)
    }

    /// Computes the gradient of the values, given the gradient of the rows' product with a table.
    pub fn slopes(&self, gradient: &Tensor, table: &Tensor) -> Result<Tensor> {
        self.products(gradient, table, None)
    }

    /// Computes for each entry the product of two rows, of `rows` and of a table, plus the bias of its column.
    fn products(&self, rows: &Tensor, table: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let (device, (_, wide)) = (device(table)?, table.dims2()?);
        let found = room::<f32>(&device, self.values.dims())?;
        let (starts, columns, _) = self.places()?;
        let (rows, others, more, to) = (at::<f32>(rows)?, at::<f32>(table)?, at_or_nothing(bias)?, at::<f32>(&found)?);
        let config = by_blocks(self.rows, THREADS)?;
        launch!(device, ROWS::"dots_at", config, starts, columns, rows, others, more, to, size(wide)?);
        Ok(found)
    }

    /// Writes values to their places in a matrix that holds 0 elsewhere.
    fn spread(&self, values: &Tensor) -> Result<Tensor> {
        let device = device(values)?;
        let matrix = room::<f32>(&device, &[self.rows, self.width])?;
        let (starts, columns, _) = self.places()?;
        let (given, to, config) = (at::<f32>(values)?, at::<f32>(&matrix)?, by_blocks(self.rows, THREADS)?);
        launch!(device, ROWS::"spread_entries", config, starts, columns, given, to, size(self.width)?);
        Ok(matrix)
    }

    /// Lists the entries column after column.
    pub fn by_column(&self) -> Result<Columns> {
        let device = device(&self.values)?;
        let words = self.rows.div_ceil(32);
        let marks = room::<u32>(&device, &[self.width, words])?;
        let counts = written::<u32>(&device, &[self.width])?;
        let (starts, columns, _) = self.places()?;
        let (marked, counted) = (at::<u32>(&marks)?, at::<u32>(&counts)?);
        let (words, wide) = (size(words)?, size(self.width)?);
        launch!(device, ROWS::"mark_columns", by_blocks(self.rows, 32)?, starts, columns, marked, words);
        let config = by_blocks(self.width.div_ceil(WARPS), THREADS)?;
        launch!(device, ROWS::"count_marks", config, marked, counted, words, wide);
        let begins = sums_before(&counts)?;
        let [rows, entries] = [room::<u32>(&device, self.values.dims())?, room::<u32>(&device, self.values.dims())?];
        let (begin, listed, found) = (at::<u32>(&begins)?, at::<u32>(&rows)?, at::<u32>(&entries)?);
        launch!(device, ROWS::"list_marks", config, marked, begin, starts, columns, listed, found, words, wide);
        Ok(Columns { counts, begins, rows, entries })
    }
}

/// The entries of sparse rows, column after column, each column's in ascending order of rows.
pub struct Columns {
    counts: Tensor,
    begins: Tensor,
    rows: Tensor,
    entries: Tensor,
}

impl Columns {
    /// Returns the number of entries of each column.
    pub fn counts(&self) -> Result<Vec<u32>> {
        Ok(self.counts.to_vec1()?)
    }

    /// Computes the sum over each column of the rows of a table, each times the value of the entry there: `[columns,
    /// wide]`.
    pub fn sums(&self, values: &Tensor, table: &Tensor) -> Result<Tensor> {
        let (device, columns, (_, wide)) = (device(table)?, self.counts.elem_count(), table.dims2()?);
        let found = written::<f32>(&device, &[columns, wide])?;
        let (begins, rows, entries) = (at::<u32>(&self.begins)?, at::<u32>(&self.rows)?, at::<u32>(&self.entries)?);
        let (times, others, to) = (at::<f32>(values)?, at::<f32>(table)?, at::<f32>(&found)?);
        let config = by_blocks(columns, THREADS)?;
        launch!(device, ROWS::"sums_of_columns", config, begins, rows, entries, times, others, to, size(wide)?);
        Ok(found)
    }
}

pub fn sparse_product(rows: &Tensor, table: &Tensor, most: usize) -> Result<Tensor> {
    let (sparse, held) = (Arc::new(SparseRows::of(rows, most)?), table.detach().contiguous()?);
    let product = sparse.times(&held)?;
    let asked = [rows.track_op(), table.track_op()];
    if asked == [false, false] {
        return Ok(product);
    }
    with_gradient("sparse_product", &product, &[rows, table], move |_, gradient| {
        let gradient = gradient.contiguous()?;
        let of_rows = asked[0].then(|| sparse.spread(&sparse.slopes(&gradient, &held)?)).transpose()?;
        let of_table = asked[1].then(|| sparse.by_column()?.sums(&sparse.values, &gradient)).transpose()?;
        Ok(vec![of_rows, of_table])
    })
}
