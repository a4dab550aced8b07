//! Words that a target language reserves or declares by itself, so that no name of ours may reach it. naga puts an
//! underscore behind the words that it knows; these lists say what must be left when it is done.

/// A language, where its list comes from, and the words, apart by white space.
pub struct Language {
    pub name: &'static str,
    words: &'static str,
    /// Words that count in capitals and small letters alike.
    in_any_case: &'static str,
    /// Scalars that come with vector and matrix types of 1 to 4 rows and columns (`float4`, `float4x4`).
    scalars: &'static str,
}

impl Language {
    pub fn reserves(&self, name: &str) -> bool {
        let is = |words: &str| words.split_whitespace().any(|word| word == name);
        let small = name.to_ascii_lowercase();
        is(self.words)
            || self.in_any_case.split_whitespace().any(|word| word == small)
            || self.scalars.split_whitespace().any(|scalar| name.strip_prefix(scalar).is_some_and(is_extent))
    }
}

/// "", "4" and "4x3".
fn is_extent(text: &str) -> bool {
    let digit = |c: u8| (b'1'..=b'4').contains(&c);
    match *text.as_bytes() {
        [] => true,
        [n] => digit(n),
        [n, b'x', m] => digit(n) && digit(m),
        _ => false,
    }
}

/// Microsoft's reference («Keywords», «Reserved Words», «Intrinsic Functions»), the shader models' pages from 6.0 on, and
/// the namespaces that DXC declares by itself: `dx` since 1.8.2505, `vk` for SPIR-V, `hlsl` for its headers.
pub const HLSL: Language = Language {
    name: "HLSL",
    words: "dx vk hlsl linalg std

        AppendStructuredBuffer asm_fragment BlendState break Buffer ByteAddressBuffer case cbuffer centroid class
        column_major compile compile_fragment CompileShader const continue ComputeShader ConsumeStructuredBuffer default
        DepthStencilState DepthStencilView discard do DomainShader else export extern false for fxgroup GeometryShader
        groupshared HullShader Hullshader if in inline inout InputPatch interface line lineadj linear LineStream matrix
        namespace nointerpolation noperspective NULL out OutputPatch packoffset pixelfragment PixelShader point
        PointStream precise RasterizerState RenderTargetView return register row_major RWBuffer RWByteAddressBuffer
        RWStructuredBuffer RWTexture1D RWTexture1DArray RWTexture2D RWTexture2DArray RWTexture3D sample sampler sampler1D
        sampler2D sampler3D samplerCUBE sampler_state SamplerState SamplerComparisonState shared snorm stateblock
        stateblock_state static string struct switch StructuredBuffer tbuffer technique10 technique11 texture
        Texture1DArray Texture2DArray Texture2DMS Texture2DMSArray TextureCubeArray true typedef triangle triangleadj
        TriangleStream uniform unorm unsigned vector vertexfragment VertexShader void volatile while

        auto catch char const_cast delete dynamic_cast enum explicit friend goto long mutable new operator private
        protected public reinterpret_cast short signed sizeof static_cast template this throw try typename union using
        virtual typeid wchar_t center globallycoherent reordercoherent indices vertices primitives payload nullptr
        decltype noexcept constexpr static_assert alignas alignof thread_local

        abort abs acos all AllMemoryBarrier AllMemoryBarrierWithGroupSync any asdouble asfloat asfloat16 asin asint
        asint16 asuint asuint16 atan atan2 ceil CheckAccessFullyMapped clamp clip cos cosh countbits cross
        D3DCOLORtoUBYTE4 ddx ddx_coarse ddx_fine ddy ddy_coarse ddy_fine degrees determinant DeviceMemoryBarrier
        DeviceMemoryBarrierWithGroupSync distance dot dst errorf EvaluateAttributeAtSample EvaluateAttributeCentroid
        EvaluateAttributeSnapped exp exp2 f16tof32 f32tof16 faceforward firstbithigh firstbitlow floor fma fmod frac
        frexp fwidth GetAttributeAtVertex GetRenderTargetSampleCount GetRenderTargetSamplePosition GroupMemoryBarrier
        GroupMemoryBarrierWithGroupSync InterlockedAdd InterlockedAnd InterlockedCompareExchange
        InterlockedCompareExchangeFloatBitwise InterlockedCompareStore InterlockedCompareStoreFloatBitwise
        InterlockedExchange InterlockedMax InterlockedMin InterlockedOr InterlockedXor isfinite isinf isnan isnormal
        ldexp length lerp lit log log10 log2 mad max min modf msad4 mul noise normalize NonUniformResourceIndex pow
        printf Process2DQuadTessFactorsAvg Process2DQuadTessFactorsMax Process2DQuadTessFactorsMin
        ProcessIsolineTessFactors ProcessQuadTessFactorsAvg ProcessQuadTessFactorsMax ProcessQuadTessFactorsMin
        ProcessTriTessFactorsAvg ProcessTriTessFactorsMax ProcessTriTessFactorsMin radians rcp reflect refract
        reversebits round rsqrt saturate sign sin sincos sinh smoothstep source_mark sqrt step tan tanh tex1D tex1Dbias
        tex1Dgrad tex1Dlod tex1Dproj tex2D tex2Dbias tex2Dgrad tex2Dlod tex2Dproj tex3D tex3Dbias tex3Dgrad tex3Dlod
        tex3Dproj texCUBE texCUBEbias texCUBEgrad texCUBElod texCUBEproj transpose trunc and or select AddUint64

        WaveActiveAllEqual WaveActiveAllTrue WaveActiveAnyTrue WaveActiveBallot WaveActiveBitAnd WaveActiveBitOr
        WaveActiveBitXor WaveActiveCountBits WaveActiveMax WaveActiveMin WaveActiveProduct WaveActiveSum
        WaveGetLaneCount WaveGetLaneIndex WaveIsFirstLane WaveMatch WaveMultiPrefixBitAnd WaveMultiPrefixBitOr
        WaveMultiPrefixBitXor WaveMultiPrefixCountBits WaveMultiPrefixProduct WaveMultiPrefixSum WavePrefixCountBits
        WavePrefixProduct WavePrefixSum WaveReadLaneAt WaveReadLaneFirst QuadAll QuadAny QuadReadAcrossDiagonal
        QuadReadAcrossX QuadReadAcrossY QuadReadLaneAt dot2add dot4add_i8packed dot4add_u8packed pack_clamp_s8
        pack_clamp_u8 pack_s8 pack_u8 unpack_s8s16 unpack_s8s32 unpack_u8u16 unpack_u8u32 IsHelperLane
        SetMeshOutputCounts DispatchMesh CreateResourceFromHeap ResourceDescriptorHeap SamplerDescriptorHeap
        ConstantBuffer TextureBuffer FeedbackTexture2D FeedbackTexture2DArray RasterizerOrderedBuffer
        RasterizerOrderedByteAddressBuffer RasterizerOrderedStructuredBuffer RasterizerOrderedTexture1D
        RasterizerOrderedTexture2D RasterizerOrderedTexture3D RaytracingAccelerationStructure RayQuery RayDesc TraceRay
        ReportHit CallShader IgnoreHit AcceptHitAndEndSearch DispatchRaysIndex DispatchRaysDimensions WorldRayOrigin
        WorldRayDirection ObjectRayOrigin ObjectRayDirection RayTMin RayTCurrent PrimitiveIndex InstanceID InstanceIndex
        GeometryIndex HitKind RayFlags ObjectToWorld WorldToObject Barrier GetRemainingRecursionLevels",
    in_any_case: "asm decl pass technique texture1d texture2d texture3d texturecube",
    scalars: "bool int uint dword half float double min10float min16float min12int min16int min16uint int16_t int32_t
        int64_t uint16_t uint32_t uint64_t float16_t float32_t float64_t int8_t4_packed uint8_t4_packed",
};

/// Metal Shading Language Specification 3.2 (sections 1.5, 2, 4, 5 and 6.1, and the constants of `<metal_math>`), and the
/// keywords of C++14 that it builds on (N4431, 2.5 and 2.11). Functions of its library stand in the namespace `metal`,
/// which translated shaders do not open.
pub const MSL: Language = Language {
    name: "MSL",
    words: "metal simd std raytracing mesh_ext

        alignas alignof and and_eq asm assert auto bitand bitor break case catch char16_t char32_t class compl concept
        const const_cast constexpr continue decltype default delete do dynamic_cast else enum explicit export extern
        false for friend goto if inline mutable namespace new noexcept not not_eq nullptr operator or or_eq private
        protected public register reinterpret_cast requires restrict return signed sizeof static static_assert
        static_cast struct switch template this thread_local throw true try typedef typeid typename union unsigned using
        virtual void volatile wchar_t while xor xor_eq

        main size_t ptrdiff_t vec packed_vec matrix simdgroup_matrix atomic atomic_int atomic_uint atomic_bool
        atomic_ulong atomic_float as_type device constant thread threadgroup threadgroup_imageblock ray_data object_data
        vertex fragment kernel visible stitchable llong ullong quad complex imaginary sampler array

        CHAR_BIT SCHAR_MAX SCHAR_MIN UCHAR_MAX CHAR_MAX CHAR_MIN USHRT_MAX SHRT_MAX SHRT_MIN UINT_MAX INT_MAX INT_MIN
        ULONG_MAX LONG_MAX LONG_MIN FLT_DIG FLT_MANT_DIG FLT_MAX_10_EXP FLT_MAX_EXP FLT_MIN_10_EXP FLT_MIN_EXP FLT_RADIX
        FLT_MAX FLT_MIN FLT_EPSILON FP_ILOGB0 FP_ILOGBNAN HALF_DIG HALF_MANT_DIG HALF_MAX_10_EXP HALF_MAX_EXP
        HALF_MIN_10_EXP HALF_MIN_EXP HALF_RADIX HALF_MAX HALF_MIN HALF_EPSILON MAXFLOAT MAXHALF HUGE_VALF HUGE_VALH
        INFINITY NAN M_E_F M_LOG2E_F M_LOG10E_F M_LN2_F M_LN10_F M_PI_F M_PI_2_F M_PI_4_F M_1_PI_F M_2_PI_F M_2_SQRTPI_F
        M_SQRT2_F M_SQRT1_2_F M_E_H M_LOG2E_H M_LOG10E_H M_LN2_H M_LN10_H M_PI_H M_PI_2_H M_PI_4_H M_1_PI_H M_2_PI_H
        M_2_SQRTPI_H M_SQRT2_H M_SQRT1_2_H",
    in_any_case: "",
    scalars: "bool char short int long uchar ushort uint ulong half float double bfloat int8_t int16_t int32_t int64_t
        uint8_t uint16_t uint32_t uint64_t packed_bool packed_char packed_short packed_int packed_uchar packed_ushort
        packed_uint packed_half packed_bfloat packed_float packed_long",
};

/// The OpenGL Shading Language 4.60 and GLSL ES 3.20: section 3.6 (keywords, and what is kept for later) and section 8 (functions).
pub const GLSL: Language = Language {
    name: "GLSL",
    words: "const uniform buffer shared attribute varying coherent volatile restrict readonly writeonly atomic_uint layout
        centroid flat smooth noperspective patch sample invariant precise break continue do for while switch case default
        if else subroutine in out inout int void bool true false float double discard return uint struct lowp mediump
        highp precision sampler samplerShadow subpassInput vec2 vec3 vec4 ivec2 ivec3 ivec4 bvec2 bvec3 bvec4 uvec2 uvec3
        uvec4 dvec2 dvec3 dvec4 hvec2 hvec3 hvec4 fvec2 fvec3 fvec4 common partition active asm class union enum typedef
        template this packed resource goto inline noinline public static extern external interface long short half fixed
        unsigned superp input output filter sizeof cast namespace using row_major

        radians degrees sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh pow exp log exp2 log2 sqrt inversesqrt
        abs sign floor trunc round roundEven ceil fract mod modf min max clamp mix step smoothstep isnan isinf
        floatBitsToInt floatBitsToUint intBitsToFloat uintBitsToFloat fma frexp ldexp packUnorm2x16 packSnorm2x16
        packUnorm4x8 packSnorm4x8 unpackUnorm2x16 unpackSnorm2x16 unpackUnorm4x8 unpackSnorm4x8 packHalf2x16
        unpackHalf2x16 packDouble2x32 unpackDouble2x32 length distance dot cross normalize ftransform faceforward reflect
        refract matrixCompMult outerProduct transpose determinant inverse lessThan lessThanEqual greaterThan
        greaterThanEqual equal notEqual any all not uaddCarry usubBorrow umulExtended imulExtended bitfieldExtract
        bitfieldInsert bitfieldReverse bitCount findLSB findMSB textureSize textureQueryLod textureQueryLevels
        textureSamples texture textureProj textureLod textureOffset texelFetch textureGrad textureGather
        atomicCounterIncrement atomicCounterDecrement atomicCounter atomicAdd atomicMin atomicMax atomicAnd atomicOr
        atomicXor atomicExchange atomicCompSwap imageSize imageSamples imageLoad imageStore dFdx dFdy fwidth noise1 noise2
        noise3 noise4 barrier memoryBarrier memoryBarrierBuffer memoryBarrierShared memoryBarrierImage
        groupMemoryBarrier",
    in_any_case: "",
    scalars: "mat dmat",
};

/// WGSL, Candidate Recommendation Draft of 2025-08-09, sections 15.1 and 15.2. Tint refuses all of these.
pub const WGSL: Language = Language {
    name: "WGSL",
    words: "alias break case const const_assert continue continuing default diagnostic discard else enable false fn for if
        let loop override requires return struct switch true var while

        NULL Self abstract active alignas alignof as asm asm_fragment async attribute auto await become cast catch class
        co_await co_return co_yield coherent column_major common compile compile_fragment concept const_cast consteval
        constexpr constinit crate debugger decltype delete demote demote_to_helper do dynamic_cast enum explicit export
        extends extern external fallthrough filter final finally friend from fxgroup get goto groupshared highp impl
        implements import inline instanceof interface layout lowp macro macro_rules match mediump meta mod module move mut
        mutable namespace new nil noexcept noinline nointerpolation non_coherent noncoherent noperspective null nullptr of
        operator package packoffset partition pass patch pixelfragment precise precision premerge priv protected pub
        public readonly ref regardless register reinterpret_cast require resource restrict self set shared sizeof smooth
        snorm static static_assert static_cast std subroutine super target template this thread_local throw trait try type
        typedef typeid typename typeof union unless unorm unsafe unsized use using varying virtual volatile wgsl where
        with writeonly yield",
    in_any_case: "",
    scalars: "",
};
