r"""Sixteen sites side by side, one in each lane of a vector: what the compiler does not find by itself.

The sites of a chain are updated one after the other, but most of them stay as they are, and then nothing
changes for those after them. So the decisions on sixteen sites are taken at once; the first of the flips that
result is done, the sites after it are decided on anew, and so on:

- `fields`: scalar products of the rows of a block of sites with S;
- `settle_block`: the sites of the block in their order; what a flip changes in the fields of the others is a
  product of their rows, from a table (Gram matrix of the block), and its row is added to S;
- `settle_fields`: the same for fields of all sites that are kept, to which a flip adds its row of couplings.

A spin flips unless it agrees with whether its field exceeds a limit: flip = (field > limit) xor (spin > 0).

Short integers are multiplied and added in pairs (two rows' entries a lane), an instruction that processors have
for it, which the generic vector code of LLVM does not become: it is called by its name where there is one.
"""

# mypy: disable-error-code="no-untyped-def"
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
VECTORS = 2
# Sites of a block: fields of two vectors share the numbers S that they are multiplied by.
SITES = VECTORS * LANES
# Sums of a field that grow side by side: each waits for the one before it.
_SUMS = 2
# Numbers of a row or of kept fields that are changed at once.
STEP = 32

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
_LANES, _PAIRS = ir.VectorType(_I32, LANES), ir.VectorType(_I16, 2 * LANES)


@intrinsic
def fields(typing_context, tile, S, H):
    """Fill H[v, lane] with the sum over k and p of tile[v, k, lane, p] S[2 k + p], or of tile[v, k, lane, 0] S[k].

    Parameters
    ----------
    tile : (VECTORS, L / 2, LANES, 2) integer of 8 or 16 bits, or (VECTORS, L, LANES, 1) of up to 32
        Rows of a block of sites; L a multiple of 4.
    S : (at least L,) int16, or int32
    H : (VECTORS, LANES) int32
    """

    def generate(context, builder, signature, arguments):
        length = _shape(context, builder, signature.args[0], arguments[0])[1]
        tile, S, H = (_data(context, builder, *pair) for pair in zip(signature.args, arguments, strict=True))
        pairs = S.type.pointee == _I16
        entries = ir.VectorType(tile.type.pointee, 2 * LANES if pairs else LANES)
        zero = _LANES([0] * LANES)
        sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(_SUMS)] for _ in range(VECTORS)]
        for total in (total for vector in sums for total in vector):
            builder.store(zero, total)
        with cgutils.for_range_slice(builder, _I64(0), length, _I64(_SUMS)) as (first, _):
            for j in range(_SUMS):
                k = builder.add(first, _I64(j))
                factor = _spread(builder, _load(builder, S, _I32, k))
                for v in range(VECTORS):
                    entry = _load(builder, tile, entries, builder.add(builder.mul(length, _I64(v)), k))
                    total = builder.load(sums[v][j])
                    if pairs:
                        total = _multiply_add(context, builder, total, _widen(builder, entry, _PAIRS), factor)
                    else:
                        total = builder.add(total, builder.mul(_widen(builder, entry, _LANES), factor))
                    builder.store(total, sums[v][j])
        for v, (first, *others) in enumerate(sums):
            total = builder.load(first)
            for other in others:
                total = builder.add(total, builder.load(other))
            _store(builder, total, H, _I64(v))
        return context.get_dummy_value()

    return types.void(tile, S, H), generate


@intrinsic
def settle_block(typing_context, H, limits, spins, gram, rows, S):
    """Update the sites of a block in their order, and S; return how many flipped.

    Parameters
    ----------
    H : (VECTORS, LANES) int32
        Fields before the first update.
    limits : (SITES,) int32
        What they are compared to.
    spins : (SITES,) int8
        Spins, which are advanced.
    gram : (SITES, VECTORS, LANES) int16 or int32
        Twice the scalar products of the rows of the block.
    rows : (SITES, L) integers no longer than those of S
        L a multiple of STEP.
    S : (L,) int16 or int32
        Scalar products of the spins with the rows, which are advanced.

    Returns
    -------
    int
    """

    def generate(context, builder, signature, arguments):
        length = _shape(context, builder, signature.args[4], arguments[4])[1]
        H, limits, spins, gram, rows, S = (
            _data(context, builder, *pair) for pair in zip(signature.args, arguments, strict=True)
        )
        fields = [cgutils.alloca_once_value(builder, _LANES([0] * LANES)) for _ in range(VECTORS)]
        for v, field in enumerate(fields):
            builder.store(_load(builder, H, _LANES, _I64(v)), field)
        products = ir.VectorType(gram.type.pointee, LANES)
        count = cgutils.alloca_once_value(builder, _I64(0))
        for v in range(VECTORS):

            def flip(site, spin, v=v):
                site = builder.add(site, _I64(v * LANES))
                negative = _spread(builder, builder.sext(builder.icmp_signed(">", spin, _I8(0)), _I32))
                for w in range(v, VECTORS):
                    at = builder.add(builder.mul(site, _I64(VECTORS)), _I64(w))
                    change = _widen(builder, _load(builder, gram, products, at), _LANES)
                    change = builder.sub(builder.xor(change, negative), negative)
                    builder.store(builder.add(builder.load(fields[w]), change), fields[w])
                _add_row(builder, rows, builder.mul(site, length), length, spin, S)

            def field(v=v):
                return builder.load(fields[v])

            _settle(builder, field, limits, spins, _I64(v), flip, count)
        return builder.load(count)

    return types.int64(H, limits, spins, gram, rows, S), generate


@intrinsic
def settle_fields(typing_context, group, limits, spins, couplings, fields):
    """Update sixteen sites in their order, and the fields of all; return how many flipped.

    Parameters
    ----------
    group : int
        Which sixteen.
    limits : (N,) int32
        What fields are compared to.
    spins : (N,) int8
        Spins, which are advanced.
    couplings : (N, L) integers no longer than those of the fields
        L a multiple of STEP, zeros beyond N.
    fields : (L,) int16 or int32
        Fields, which are advanced.

    Returns
    -------
    int
    """

    def generate(context, builder, signature, arguments):
        length = _shape(context, builder, signature.args[3], arguments[3])[1]
        group = context.cast(builder, arguments[0], signature.args[0], types.int64)
        limits, spins, couplings, fields = (
            _data(context, builder, *pair) for pair in zip(signature.args[1:], arguments[1:], strict=True)
        )
        kept = ir.VectorType(fields.type.pointee, LANES)
        count = cgutils.alloca_once_value(builder, _I64(0))
        builder.store(_I64(0), count)

        def field():
            return _widen(builder, _load(builder, fields, kept, group), _LANES)

        def flip(site, spin):
            site = builder.add(site, builder.mul(group, _I64(LANES)))
            _add_row(builder, couplings, builder.mul(site, length), length, spin, fields)

        _settle(builder, field, limits, spins, group, flip, count)
        return builder.load(count)

    return types.int64(group, limits, spins, couplings, fields), generate


@intrinsic
def contains(typing_context, values, value):
    """Return whether any of STEP numbers of 32 bits, (STEP,) int32, is a certain one."""

    def generate(context, builder, signature, arguments):
        values = _data(context, builder, signature.args[0], arguments[0])
        wanted = _spread(builder, context.cast(builder, arguments[1], signature.args[1], types.int32))
        found = [
            builder.bitcast(
                builder.icmp_signed("==", _load(builder, values, _LANES, _I64(v)), wanted), ir.IntType(LANES)
            )
            for v in range(STEP // LANES)
        ]
        return builder.icmp_unsigned("!=", builder.or_(*found), ir.IntType(LANES)(0))

    return types.boolean(values, value), generate


def _settle(builder, field, limits, spins, group, flip, count):
    """Update a group of sixteen sites in their order; `field` returns their fields, `flip` does what a flip entails."""
    short, bits = ir.VectorType(_I8, LANES), ir.IntType(LANES)
    old, limit = _load(builder, spins, short, group), _load(builder, limits, _LANES, group)
    up = builder.icmp_signed(">", old, short([0] * LANES))

    def flips():
        return builder.bitcast(builder.xor(builder.icmp_signed(">", field(), limit), up), bits)

    ahead, flipped = (cgutils.alloca_once_value(builder, bits(0)) for _ in range(2))
    builder.store(flips(), ahead)
    builder.store(bits(0), flipped)
    condition, body, end = (builder.append_basic_block(name) for name in ("condition", "body", "end"))
    builder.branch(condition)
    builder.position_at_end(condition)
    builder.cbranch(builder.icmp_unsigned("!=", builder.load(ahead), bits(0)), body, end)
    builder.position_at_end(body)
    # The lowest bit is the first site that flips.
    mask = builder.load(ahead)
    lowest = builder.and_(mask, builder.neg(mask))
    lane = builder.zext(builder.cttz(mask, _I1(1)), _I64)
    builder.store(builder.or_(builder.load(flipped), lowest), flipped)
    flip(lane, builder.load(builder.gep(spins, [builder.add(builder.mul(group, _I64(LANES)), lane)])))
    later = builder.neg(builder.shl(lowest, bits(1)))
    builder.store(builder.and_(flips(), later), ahead)
    builder.store(builder.add(builder.load(count), _I64(1)), count)
    builder.branch(condition)
    builder.position_at_end(end)
    reversed_spins = builder.select(
        builder.bitcast(builder.load(flipped), ir.VectorType(_I1, LANES)), builder.neg(old), old
    )
    _store(builder, reversed_spins, spins, group)


def _add_row(builder, rows, start, length, spin, S):
    """Subtract 2 spin times the row that begins at an entry from S."""
    kind = ir.VectorType(S.type.pointee, STEP)
    entries = ir.VectorType(rows.type.pointee, STEP)
    change = builder.mul(builder.sext(spin, kind.element), kind.element(-2))
    factor = builder.insert_element(ir.Constant(kind, ir.Undefined), change, _I32(0))
    factor = builder.shuffle_vector(factor, ir.Constant(kind, ir.Undefined), ir.VectorType(_I32, STEP)([0] * STEP))
    first = builder.gep(rows, [start])
    with cgutils.for_range(builder, builder.udiv(length, _I64(STEP))) as loop:
        row = _widen(builder, _load(builder, first, entries, loop.index), kind)
        total = _load(builder, S, kind, loop.index)
        _store(builder, builder.add(total, builder.mul(row, factor)), S, loop.index)


def _multiply_add(context, builder, total, a, b):
    """Return total + a_even b_even + a_odd b_odd, lane by lane; b is a pair in every lane."""
    features = context.codegen().magic_tuple()[2]
    if "+avx512vnni" in features:
        name, a = "llvm.x86.avx512.vpdpwssd.512", builder.bitcast(a, _LANES)
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_LANES, [_LANES] * 3), name)
        return builder.call(function, [total, a, b])
    b = builder.bitcast(b, _PAIRS)
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


def _widen(builder, vector, kind):
    return vector if vector.type == kind else builder.sext(vector, kind)


def _data(context, builder, kind, value):
    return context.make_array(kind)(context, builder, value).data


def _shape(context, builder, kind, value):
    return cgutils.unpack_tuple(builder, context.make_array(kind)(context, builder, value).shape)


def _load(builder, array, kind, number):
    return builder.load(builder.gep(builder.bitcast(array, kind.as_pointer()), [number]), align=1)


def _store(builder, value, array, number):
    builder.store(value, builder.gep(builder.bitcast(array, value.type.as_pointer()), [number]), align=1)


def _spread(builder, number):
    """Return a number of 32 bits in every lane."""
    first = builder.insert_element(ir.Constant(_LANES, ir.Undefined), number, _I32(0))
    return builder.shuffle_vector(first, ir.Constant(_LANES, ir.Undefined), _LANES([0] * LANES))
