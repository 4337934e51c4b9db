"""The checks that Jupyter's own project has for kernels: every message against its schema, and what each is to do."""

import unittest

import jupyter_kernel_test


class Microtome(jupyter_kernel_test.KernelTests):
    kernel_name = "microtome"
    language_name = "rhai"
    file_extension = ".rhai"
    code_hello_world = 'print("hello, world")'
    code_stderr = ":run stderr.rhai"
    code_generate_error = 'throw "wrong"'
    code_execute_result = [{"code": "6 * 7", "result": "42"}]
    code_display_data = [
        {"code": "show(plot::line([1, 2, 4]))", "mime": mime}
        for mime in ["image/svg+xml", "image/png", "text/html", "text/plain"]
    ]
    code_inspect_sample = "tensor::zeros"
    code_history_pattern = "6 ? 7*"
    supported_history_operations = ("tail", "range", "search")
    completion_samples = [
        {"text": "tensor::zer", "matches": {"zeros("}},
        {"text": "model::load(\"ti", "matches": {'tiny"'}},
    ]
    complete_code_samples = ["1", "let x = 3;", "fn f(x) {\n  x\n}", "?tensor", ":help"]
    incomplete_code_samples = ["fn f(", "1 +", "[1, 2", "/* open"]
    invalid_code_samples = ["let = 3", "1 2"]


if __name__ == "__main__":
    unittest.main()
