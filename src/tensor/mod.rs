//! Floor 1: tensors. Indexing, reductions, linear algebra, statistics, summaries, and tensor files in and out.
