//! Methods of tensors that convert their arguments and call one function of the core, each declared in one line.

/// An argument of a method as the core takes it.
macro_rules! argument {
    (Int $x:ident) => {
        given(stringify!($x), &$x).integer()?
    };
    (Ints $x:ident) => {
        given(stringify!($x), &$x).integers()?
    };
    (Array $x:ident) => {
        given(stringify!($x), &$x.into()).integers()?
    };
    (Any $x:ident) => {
        operand(stringify!($x), &$x)?
    };
    (Tensor $x:ident) => {
        $x
    };
}

/// `roll(by: Int, axis: Int) => move |t| core::roll(t, by, axis);` is the method `t.roll(by, axis)`; what follows `as` is the
/// name in scripts, where several functions share one. `run` is how the work is done: [`super::on`], [`super::view`].
macro_rules! methods {
    ($module:ident by $run:ident: $(
        $(#[doc = $doc:tt])*
        $name:ident $(as $called:tt)? ($($argument:ident: $type:ident),*) => $how:expr;
    )*) => {
        #[export_module(manifest)]
        pub mod $module {
            $(
                $(#[doc = $doc])*
                #[rhai_fn(global, $(name = $called,)? pure, return_raw)]
                pub fn $name(ctx: NativeCallContext, t: &mut Tensor, $($argument: $type),*) -> Fallible<Tensor> {
                    $(let $argument = argument!($type $argument);)*
                    $run(&ctx, t, $how)
                }
            )*
        }
    };
}
