r"""Sixteen chains side by side, one in each lane of a vector: what the compiler does not find by itself.

The chains of one quenched sample read the same patterns. A block of sites is updated in three steps, none
of which has a branch that depends on a spin:

1. `fields`: scalar products of the rows of all sites of the block with S, for sixteen chains at once;
2. `settle`: the sites in their order; what a flip changes in the fields of the sites after it in the
   block is a product of their rows, from a table (Gram matrix of the block);
3. `accumulate`: the flips are added to S.

Short integers are multiplied and added in pairs (two rows' entries a lane), an instruction that processors have
for it, which the generic vector code of LLVM does not become: it is called by its name where there is one.
"""

# mypy: disable-error-code="no-untyped-def"
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
# Sites of a block: a longer one makes S last longer in the registers, a shorter one has fewer corrections.
SITES = 32
# Sites, or pairs of entries, that are worked on in registers at once.
_TILE = 8

_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_PAIRS, _LANES = ir.VectorType(_I16, 2 * LANES), ir.VectorType(_I32, LANES)


@intrinsic
def fields(typing_context, X, S, H):
    """Fill H[b, lane] with the sum over k of X[b, k] S[k // 2, lane, k % 2], for every site b of a block.

    Parameters
    ----------
    X : (SITES, L) int16, L even
    S : (L / 2, LANES, 2) int16
    H : (SITES, LANES) int32
    """

    def generate(context, builder, signature, arguments):
        X, S, H = (_data(context, builder, *pair) for pair in zip(signature.args, arguments, strict=True))
        pairs = _length(context, builder, signature.args[1], arguments[1])
        with cgutils.for_range_slice(builder, _I64(0), _I64(SITES), _I64(_TILE)) as (first, _):
            sums = [cgutils.alloca_once_value(builder, _LANES(None)) for _ in range(_TILE)]
            for total in sums:
                builder.store(_LANES([0] * LANES), total)
            with cgutils.for_range(builder, pairs) as loop:
                factors = _load(builder, S, _PAIRS, loop.index)
                for b, total in enumerate(sums):
                    site = builder.add(first, _I64(b))
                    entries = _spread(builder, X, builder.add(builder.mul(site, pairs), loop.index))
                    builder.store(_multiply_add(context, builder, builder.load(total), factors, entries), total)
            for b, total in enumerate(sums):
                _store(builder, builder.load(total), H, builder.add(first, _I64(b)))
        return context.get_dummy_value()

    return types.void(X, S, H), generate


@intrinsic
def settle(typing_context, H, gram, squares, spins, bounds, changes, moved, heat_bath):
    """Decide on the sites of a block in their order, and correct the fields of those after each.

    Heat bath: the new spin is +1 if the field without the site's own part, H - spin square, exceeds the bound;
    else the spin is reversed if the cost, spin H - square, is below the bound.

    Parameters
    ----------
    H : (SITES, LANES) int32
        Fields; afterwards those at the moment of each decision.
    gram : (SITES, SITES) int32
        Scalar products of the rows of the block.
    squares : (SITES,) int32
        Scalar product of each row with itself.
    spins, bounds : (SITES, LANES) int32
        Spins, which are advanced, and what decides on them.
    changes : (SITES, LANES, 2) int16
        Receives the change of each spin, twice.
    moved : (SITES,) int32
        Receives the sites at which any spin changed, in their order.
    heat_bath : bool

    Returns
    -------
    int
        Number of these sites.
    """

    def generate(context, builder, signature, arguments):
        H, gram, squares, spins, bounds, changes, moved = (
            _data(context, builder, *pair) for pair in zip(signature.args[:-1], arguments[:-1], strict=True)
        )
        count = cgutils.alloca_once_value(builder, _I64(0))
        heat_bath = context.cast(builder, arguments[-1], signature.args[-1], types.boolean)
        one, minus_one, zero = (_LANES([value] * LANES) for value in (1, -1, 0))
        with cgutils.for_range(builder, _I64(SITES)) as sites:
            b = sites.index
            h, spin, bound = (_load(builder, array, _LANES, b) for array in (H, spins, bounds))
            square = _spread_integer(builder, squares, b)
            up = builder.icmp_signed(">", builder.sub(h, builder.mul(spin, square)), bound)
            reverse = builder.icmp_signed("<", builder.sub(builder.mul(spin, h), square), bound)
            by_heat_bath = builder.select(up, one, minus_one)
            otherwise = builder.select(reverse, builder.sub(zero, spin), spin)
            new = builder.select(heat_bath, by_heat_bath, otherwise)
            change = builder.sub(new, spin)
            _store(builder, new, spins, b)
            # Twice the same short integer: the low half of the product with 2^16 + 1.
            low = builder.and_(change, _LANES([0xFFFF] * LANES))
            _store(builder, builder.or_(low, builder.shl(change, _LANES([16] * LANES))), changes, b)
            with builder.if_then(_any(context, builder, change)):
                number = builder.load(count)
                builder.store(builder.trunc(b, _I32), builder.gep(builder.bitcast(moved, _I32.as_pointer()), [number]))
                builder.store(builder.add(number, _I64(1)), count)
                with cgutils.for_range_slice(builder, builder.add(b, _I64(1)), _I64(SITES), _I64(1)) as (j, _):
                    product = _spread_integer(builder, gram, builder.add(builder.mul(b, _I64(SITES)), j))
                    corrected = builder.add(_load(builder, H, _LANES, j), builder.mul(product, change))
                    _store(builder, corrected, H, j)
        return builder.load(count)

    return types.int64(H, gram, squares, spins, bounds, changes, moved, heat_bath), generate


@intrinsic
def accumulate(typing_context, X, changes, moved, count, S):
    """Add changes[b, lane] X[b, k] to S[k // 2, lane, k % 2], for the first `count` of the sites b in `moved`.

    Parameters
    ----------
    X : (SITES, L) int16, L a multiple of 16
    changes : (SITES, LANES, 2) int16
    moved : (SITES,) int32
    count : int
    S : (L / 2, LANES, 2) int16
    """

    def generate(context, builder, signature, arguments):
        X, changes, moved = (
            _data(context, builder, *pair) for pair in zip(signature.args[:3], arguments[:3], strict=True)
        )
        S, pairs = (
            _data(context, builder, signature.args[4], arguments[4]),
            _length(context, builder, signature.args[4], arguments[4]),
        )
        count = context.cast(builder, arguments[3], signature.args[3], types.int64)
        with cgutils.for_range_slice(builder, _I64(0), pairs, _I64(_TILE)) as (first, _):
            sums = [cgutils.alloca_once_value(builder, _PAIRS(None)) for _ in range(_TILE)]
            for k, total in enumerate(sums):
                builder.store(_load(builder, S, _PAIRS, builder.add(first, _I64(k))), total)
            with cgutils.for_range(builder, count) as loop:
                b = builder.sext(
                    builder.load(builder.gep(builder.bitcast(moved, _I32.as_pointer()), [loop.index])), _I64
                )
                change = _load(builder, changes, _PAIRS, b)
                for k, total in enumerate(sums):
                    at = builder.add(builder.mul(b, pairs), builder.add(first, _I64(k)))
                    product = builder.mul(_spread(builder, X, at), change)
                    builder.store(builder.add(builder.load(total), product), total)
            for k, total in enumerate(sums):
                _store(builder, builder.load(total), S, builder.add(first, _I64(k)))
        return context.get_dummy_value()

    return types.void(X, changes, moved, count, S), generate


def _multiply_add(context, builder, total, a, b):
    """Return total + a_even b_even + a_odd b_odd, lane by lane."""
    features = context.codegen().magic_tuple()[2]
    if "+avx512bw" in features:
        name, width = "llvm.x86.avx512.pmaddw.d.512", LANES
    elif "+avx2" in features:
        name, width = "llvm.x86.avx2.pmadd.wd", LANES // 2
    else:
        wide = ir.VectorType(_I32, 2 * LANES)
        product = builder.mul(builder.sext(a, wide), builder.sext(b, wide))
        even, odd = (_part(builder, product, range(start, 2 * LANES, 2)) for start in (0, 1))
        return builder.add(total, builder.add(even, odd))
    short, long = ir.VectorType(_I16, 2 * width), ir.VectorType(_I32, width)
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(long, [short, short]), name)
    parts = [
        builder.call(function, [_part(builder, v, range(start, start + 2 * width)) for v in (a, b)])
        for start in range(0, 2 * LANES, 2 * width)
    ]
    product = parts[0] if len(parts) == 1 else _join(builder, *parts)
    return builder.add(total, product)


def _part(builder, vector, positions):
    indices = ir.Constant(ir.VectorType(_I32, len(positions)), list(positions))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), indices)


def _join(builder, first, second):
    indices = ir.Constant(ir.VectorType(_I32, 2 * first.type.count), list(range(2 * first.type.count)))
    return builder.shuffle_vector(first, second, indices)


def _data(context, builder, kind, value):
    return context.make_array(kind)(context, builder, value).data


def _length(context, builder, kind, value):
    return cgutils.unpack_tuple(builder, context.make_array(kind)(context, builder, value).shape)[0]


def _load(builder, array, kind, number):
    return builder.load(builder.gep(builder.bitcast(array, kind.as_pointer()), [number]), align=4)


def _store(builder, value, array, number):
    builder.store(value, builder.gep(builder.bitcast(array, value.type.as_pointer()), [number]), align=4)


def _spread(builder, array, number):
    """Return a pair of short integers in every lane."""
    return builder.bitcast(_spread_integer(builder, array, number), _PAIRS)


def _spread_integer(builder, array, number):
    value = builder.load(builder.gep(builder.bitcast(array, _I32.as_pointer()), [number]), align=4)
    first = builder.insert_element(ir.Constant(_LANES, ir.Undefined), value, _I32(0))
    return builder.shuffle_vector(first, ir.Constant(_LANES, ir.Undefined), _LANES([0] * LANES))


def _any(context, builder, vector):
    kind = ir.FunctionType(_I32, [_LANES])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.or.v{LANES}i32")
    return builder.icmp_signed("!=", builder.call(function, [vector]), _I32(0))
