//! Sparse rows on a device of NVIDIA, by the kernels of `cuda/rows.cu`.

use std::sync::Arc;

use candle_core::cuda_backend::cudarc::cublas::result::gemm_strided_batched_ex;
use candle_core::cuda_backend::cudarc::cublas::sys;
use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
use candle_core::{Device, Tensor};

use super::cuda::{NOTHING, THREADS, WARPS, at, by_blocks, device, launch, ptx, room, size, written};
use crate::base::error::{Result, err};
use crate::tape::record::with_gradient;

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
/// Entries of a column that one block sums. Some features of a model's activations are active in every row.
const PIECE: usize = 512;

/// Returns the address of the numbers of an optional tensor.
fn at_or_nothing(t: Option<&Tensor>) -> Result<u64> {
    t.map_or(Ok(NOTHING), at::<f32>)
}

/// Numbers to select from: rows of some width, without gaps.
struct DenseRows<'a> {
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

impl DenseRows<'_> {
    fn bounds(&self) -> Result<(u64, u64)> {
        self.slack.map_or(Ok((NOTHING, NOTHING)), |[slacks, norms]| Ok((at::<f32>(norms)?, at::<f32>(slacks)?)))
    }

    /// Finds the columns of at most `each` numbers of every row that may be at least its cut; None where a row has
    /// more.
    fn candidates(&self, cuts: &Cuts, each: usize) -> Result<Option<SparseRows>> {
        let there = self.numbers.device();
        let device = device(self.numbers)?;
        let found = SparseRows::room(SparseRows::even(self.rows, each, there)?, self.rows * each, self.width)?;
        let over = room::<u32>(&device, &[1])?;
        let numbers = at::<f32>(self.numbers)?;
        let bias = at_or_nothing(self.bias)?;
        let (norms, slacks) = self.bounds()?;
        let cut = at::<u32>(&cuts.cuts)?;
        let (starts, columns, _) = found.places()?;
        let flag = at::<u32>(&over)?;
        let config = by_blocks(self.rows, THREADS)?;
        let width = size(self.width)?;
        launch!(
            device, ROWS::"take_candidates", config, numbers, bias, norms, slacks, cut, starts, columns, flag, width
        );
        Ok(if over.to_vec1::<u32>()?[0] == 0 { Some(found) } else { None })
    }

    /// Finds the cuts of the k largest of each row.
    fn cuts_of_rows(&self, k: usize) -> Result<Cuts> {
        let device = device(self.numbers)?;
        let cuts = written::<u32>(&device, &[self.rows, 2])?;
        let numbers = at::<f32>(self.numbers)?;
        let bias = at_or_nothing(self.bias)?;
        let to = at::<u32>(&cuts)?;
        let (norms, slacks) = self.bounds()?;
        let width = size(self.width)?;
        let k = size(k.min(self.width))?;
        let config = by_blocks(self.rows, THREADS)?;
        let positive = u32::from(self.positive);
        launch!(device, ROWS::"cuts_of_rows", config, numbers, bias, norms, slacks, to, width, k, positive);
        Ok(Cuts { cuts, counts: None })
    }

    /// Finds the cut of the k largest of all.
    fn cut_of_all(&self, k: usize) -> Result<Cuts> {
        let there = self.numbers.device();
        let device = device(self.numbers)?;
        let count = self.numbers.elem_count();
        let cut = Tensor::new(&[0, size(k.min(count))?], there)?;
        let digits = room::<u32>(&device, &[BINS])?;
        let numbers = at::<f32>(self.numbers)?;
        let bias = at_or_nothing(self.bias)?;
        let to = at::<u32>(&cut)?;
        let width = size(self.width)?;
        let rows = size(self.rows)?;
        let positive = u32::from(self.positive);
        let counted = at::<u32>(&digits)?;
        for pass in 0..3_u32 {
            let config = by_blocks(self.rows.min(COUNTING), THREADS)?;
            launch!(
                device, ROWS::"count_digits", config, numbers, bias, to, counted, count, width, rows, pass, positive
            );
            launch!(device, ROWS::"end_of_pass", by_blocks(1, THREADS)?, to, counted, pass);
        }
        let [above, equal] = [written::<u32>(&device, &[self.rows])?, written::<u32>(&device, &[self.rows])?];
        let more = at::<u32>(&above)?;
        let same = at::<u32>(&equal)?;
        let config = by_blocks(self.rows, THREADS)?;
        launch!(device, ROWS::"count_beside_cut", config, numbers, bias, to, more, same, count, width, positive);
        let before = sums_before(&equal)?;
        Ok(Cuts { cuts: cut, counts: Some([above, equal, before]) })
    }

    /// Takes the numbers that the cuts select, into entries that begin where `starts` says.
    fn taken(&self, cuts: &Cuts, starts: Tensor, most: usize) -> Result<SparseRows> {
        let device = device(self.numbers)?;
        let found = SparseRows::room(starts, most, self.width)?;
        let numbers = at::<f32>(self.numbers)?;
        let bias = at_or_nothing(self.bias)?;
        let cut = at::<u32>(&cuts.cuts)?;
        let before = cuts.equal_before()?;
        let starts = at::<u32>(&found.starts)?;
        let columns = at::<u32>(&found.columns)?;
        let values = at::<f32>(&found.values)?;
        let width = size(self.width)?;
        let apart = cuts.apart();
        let config = by_blocks(self.rows, THREADS)?;
        launch!(
            device, ROWS::"take_entries", config, numbers, bias, cut, before, starts, columns, values, width, apart
        );
        Ok(found)
    }
}

/// Returns the sum of all counts before each count, and at the end the sum of all.
fn sums_before(counts: &Tensor) -> Result<Tensor> {
    let device = device(counts)?;
    let lists = counts.elem_count();
    let starts = written::<u32>(&device, &[lists + 1])?;
    let from = at::<u32>(counts)?;
    let to = at::<u32>(&starts)?;
    launch!(device, ROWS::"sums_before", by_blocks(1, 1024)?, from, to, size(lists)?);
    Ok(starts)
}

/// Returns the norm of each row.
fn norms_of_rows(table: &Tensor) -> Result<Tensor> {
    let device = device(table)?;
    let (rows, width) = table.dims2()?;
    let norms = written::<f32>(&device, &[rows])?;
    let from = at::<f32>(table)?;
    let to = at::<f32>(&norms)?;
    let config = by_blocks(rows.div_ceil(WARPS), THREADS)?;
    launch!(device, ROWS::"norms_of_rows", config, from, to, size(rows)?, size(width)?);
    Ok(norms)
}

/// Computes x W^T on tensor cores, which read the first 11 bits of each number.
fn product_in_tf32(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let device = device(x)?;
    let (rows, inner) = x.dims2()?;
    let width = weight.dims()[0];
    let product = written::<f32>(&device, &[rows, width])?;
    let signed = |number: usize| {
        i32::try_from(number).map_err(|_| err!(Memory, "expected less than 2^31 rows for a product, found {number}"))
    };
    let m = signed(width)?;
    let n = signed(rows)?;
    let k = signed(inner)?;
    let a = at::<f32>(weight)?;
    let b = at::<f32>(x)?;
    let c = at::<f32>(&product)?;
    let one = 1.0_f32;
    let zero = 0.0_f32;
    let float = sys::cudaDataType_t::CUDA_R_32F;
    let turned = sys::cublasOperation_t::CUBLAS_OP_T;
    let plain = sys::cublasOperation_t::CUBLAS_OP_N;
    let compute = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32;
    let way = sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT_TENSOR_OP;
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
    let device = device(&numbers)?;
    let count = numbers.elem_count();
    let own = numbers.dims().last().copied().unwrap_or(1);
    // A single row has the whole device.
    let is_single = count == own && own > STRETCH;
    let width = if is_single { STRETCH } else { own };
    let table =
        DenseRows { numbers: &numbers, bias: None, rows: count.div_ceil(width), width, positive: false, slack: None };
    let cuts = if is_single { table.cut_of_all(k)? } else { table.cuts_of_rows(k)? };
    let mask = written::<f32>(&device, numbers.dims())?;
    let given = at::<f32>(&numbers)?;
    let cut = at::<u32>(&cuts.cuts)?;
    let before = cuts.equal_before()?;
    let marks = at::<f32>(&mask)?;
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
        let device = device(&starts)?;
        let rows = starts.elem_count() - 1;
        size(most)?;
        let columns = room::<u32>(&device, &[most])?;
        let values = room::<f32>(&device, &[most])?;
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
        let table = DenseRows { numbers: &numbers.contiguous()?, bias, rows, width, positive: true, slack: None };
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
        let x = x.contiguous()?;
        let weight = weight.contiguous()?;
        let (rows, inner) = x.dims2()?;
        let width = weight.dims()[0];
        // Tensor cores read the 11 first bits of a number: each factor is off by less than 2^-10 of it, and a product by 2^-9.
        // Both sums, there and here, are in f32.
        let share = 2_f64.powi(-9) + inner as f64 * 2_f64.powi(-22);
        let norms = norms_of_rows(&weight)?;
        let slacks = (norms_of_rows(&x)? * share)?;
        let nearly = product_in_tf32(&x, &weight)?;
        let table = DenseRows {
            numbers: &nearly,
            bias: Some(bias),
            rows,
            width,
            positive: true,
            slack: Some([&slacks, &norms]),
        };
        let each = (CANDIDATES * k).min(width);
        let Some(candidates) = table.candidates(&table.cuts_of_rows(k)?, each)? else { return Ok(None) };
        let values = candidates.products(&x, &weight, Some(bias))?.reshape((rows, each))?;
        let mut found = Self::largest_of_rows(&values, None, k)?;
        let (starts, columns, _) = found.places()?;
        let among = at::<u32>(&candidates.columns)?;
        let device = device(&values)?;
        launch!(device, ROWS::"columns_of_candidates", by_blocks(rows, 32)?, starts, columns, among, size(each)?);
        found.width = width;
        Ok(Some(found))
    }

    /// Finds the k largest of all numbers above 0, where `bias` is added to every row.
    pub fn largest_of_all(numbers: &Tensor, bias: Option<&Tensor>, k: usize) -> Result<Self> {
        let (rows, width) = numbers.dims2()?;
        let table = DenseRows { numbers: &numbers.contiguous()?, bias, rows, width, positive: true, slack: None };
        let cuts = table.cut_of_all(k)?;
        let device = device(numbers)?;
        let lengths = written::<u32>(&device, &[rows])?;
        if let Some([above, equal, before]) = &cuts.counts {
            let cut = at::<u32>(&cuts.cuts)?;
            let to = at::<u32>(&lengths)?;
            let above = at::<u32>(above)?;
            let equal = at::<u32>(equal)?;
            let before = at::<u32>(before)?;
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
        let device = device(&dense)?;
        let given = at::<f32>(&dense)?;
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
        let device = device(table)?;
        let (_, wide) = table.dims2()?;
        let product = written::<f32>(&device, &[self.rows, wide])?;
        let (starts, columns, values) = self.places()?;
        let rows = at::<f32>(table)?;
        let to = at::<f32>(&product)?;
        let config = by_blocks(self.rows, THREADS)?;
        launch!(device, ROWS::"weighted_sums", config, starts, columns, values, rows, to, size(wide)?);
        Ok(product)
    }

    /// Computes the gradient of the values, given the gradient of the rows' product with a table.
    pub fn slopes(&self, gradient: &Tensor, table: &Tensor) -> Result<Tensor> {
        self.products(gradient, table, None)
    }

    /// Computes for each entry the product of two rows, of `rows` and of a table, plus the bias of its column.
    fn products(&self, rows: &Tensor, table: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let device = device(table)?;
        let (_, wide) = table.dims2()?;
        let found = room::<f32>(&device, self.values.dims())?;
        let (starts, columns, _) = self.places()?;
        let rows = at::<f32>(rows)?;
        let others = at::<f32>(table)?;
        let more = at_or_nothing(bias)?;
        let to = at::<f32>(&found)?;
        let config = by_blocks(self.rows, THREADS)?;
        launch!(device, ROWS::"dots_at", config, starts, columns, rows, others, more, to, size(wide)?);
        Ok(found)
    }

    /// Writes values to their places in a matrix that holds 0 elsewhere.
    fn spread(&self, values: &Tensor) -> Result<Tensor> {
        let device = device(values)?;
        let matrix = room::<f32>(&device, &[self.rows, self.width])?;
        let (starts, columns, _) = self.places()?;
        let given = at::<f32>(values)?;
        let to = at::<f32>(&matrix)?;
        let config = by_blocks(self.rows, THREADS)?;
        launch!(device, ROWS::"spread_entries", config, starts, columns, given, to, size(self.width)?);
        Ok(matrix)
    }

    /// Lists the entries column after column.
    pub fn by_column(&self) -> Result<ColumnEntries> {
        let device = device(&self.values)?;
        let words = self.rows.div_ceil(32);
        let marks = room::<u32>(&device, &[self.width, words])?;
        let counts = written::<u32>(&device, &[self.width])?;
        let (starts, columns, _) = self.places()?;
        let marked = at::<u32>(&marks)?;
        let counted = at::<u32>(&counts)?;
        let words = size(words)?;
        let wide = size(self.width)?;
        launch!(device, ROWS::"mark_columns", by_blocks(self.rows, 32)?, starts, columns, marked, words);
        let config = by_blocks(self.width.div_ceil(WARPS), THREADS)?;
        launch!(device, ROWS::"count_marks", config, marked, counted, words, wide);
        let begins = sums_before(&counts)?;
        let [rows, entries] = [room::<u32>(&device, self.values.dims())?, room::<u32>(&device, self.values.dims())?];
        let begin = at::<u32>(&begins)?;
        let listed = at::<u32>(&rows)?;
        let found = at::<u32>(&entries)?;
        launch!(device, ROWS::"list_marks", config, marked, begin, starts, columns, listed, found, words, wide);
        Ok(ColumnEntries { counts, begins, rows, entries })
    }
}

/// The entries of sparse rows, column after column, each column's in ascending order of rows.
pub struct ColumnEntries {
    counts: Tensor,
    begins: Tensor,
    rows: Tensor,
    entries: Tensor,
}

impl ColumnEntries {
    /// Returns the number of entries of each column.
    pub fn counts(&self) -> Result<Vec<u32>> {
        Ok(self.counts.to_vec1()?)
    }

    /// Computes the sum over each column of the rows of a table, each times the value of the entry there: `[columns,
    /// wide]`.
    pub fn sums(&self, values: &Tensor, table: &Tensor) -> Result<Tensor> {
        let device = device(table)?;
        let columns = self.counts.elem_count();
        let (_, wide) = table.dims2()?;
        let found = written::<f32>(&device, &[columns, wide])?;
        let begins = at::<u32>(&self.begins)?;
        let rows = at::<u32>(&self.rows)?;
        let entries = at::<u32>(&self.entries)?;
        let times = at::<f32>(values)?;
        let others = at::<f32>(table)?;
        let to = at::<f32>(&found)?;
        let config = by_blocks(columns, THREADS)?;
        let piece = size(PIECE)?;
        let width = size(wide)?;
        launch!(device, ROWS::"sums_of_columns", config, begins, rows, entries, times, others, to, width, piece);
        // A column longer than a piece has fewer than two pieces for each PIECE of its entries.
        let most = 2 * self.entries.elem_count() / PIECE;
        if most == 0 {
            return Ok(found);
        }
        let pieces = written::<u32>(&device, &[columns])?;
        let counts = at::<u32>(&self.counts)?;
        let counted = at::<u32>(&pieces)?;
        let all = size(columns)?;
        let by_threads = by_blocks(columns.div_ceil(THREADS as usize), THREADS)?;
        launch!(device, ROWS::"pieces_of_columns", by_threads, counts, counted, piece, all);
        let starts = sums_before(&pieces)?;
        let first = at::<u32>(&starts)?;
        let parts = written::<f32>(&device, &[most, wide])?;
        let part = at::<f32>(&parts)?;
        let by_pieces = by_blocks(most, THREADS)?;
        launch!(
            device, ROWS::"sums_of_pieces", by_pieces, begins, first, rows, entries, times, others, part, width, piece, all
        );
        launch!(device, ROWS::"sums_of_parts", config, first, part, to, width);
        Ok(found)
    }

    /// Computes the sum of the values of each column's entries: `[columns]`.
    pub fn totals(&self, values: &Tensor) -> Result<Tensor> {
        let device = device(values)?;
        let columns = self.counts.elem_count();
        let found = written::<f32>(&device, &[columns])?;
        let begins = at::<u32>(&self.begins)?;
        let entries = at::<u32>(&self.entries)?;
        let given = at::<f32>(values)?;
        let to = at::<f32>(&found)?;
        let config = by_blocks(columns.div_ceil(WARPS), THREADS)?;
        launch!(device, ROWS::"totals_of_columns", config, begins, entries, given, to, size(columns)?);
        Ok(found)
    }
}

/// Adds each row of `added` to the row of a table that `names` has for it, in place. No other tensor may have the numbers
/// of the table, and no row may be named twice.
pub fn add_to_rows(table: &Tensor, names: &Tensor, added: &Tensor) -> Result<()> {
    let device = device(table)?;
    let (rows, width) = added.dims2()?;
    let given = at::<f32>(added)?;
    let named = at::<u32>(names)?;
    let to = at::<f32>(table)?;
    launch!(device, ROWS::"add_to_rows", by_blocks(rows, THREADS)?, given, named, to, size(width)?);
    Ok(())
}

pub fn sparse_product(rows: &Tensor, table: &Tensor, most: usize) -> Result<Tensor> {
    let sparse = Arc::new(SparseRows::of(rows, most)?);
    let held = table.detach().contiguous()?;
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
