// Small float vectors for meshes and shading; scene geometry in double is vision/geometry.h.
#pragma once

#include <math.h>

typedef struct {
    float x, y, z;
} v3;

static inline v3 v3_make(float x, float y, float z)
{
    return (v3){x, y, z};
}
static inline v3 v3_add(v3 a, v3 b)
{
    return (v3){a.x + b.x, a.y + b.y, a.z + b.z};
}
static inline v3 v3_sub(v3 a, v3 b)
{
    return (v3){a.x - b.x, a.y - b.y, a.z - b.z};
}
static inline v3 v3_mul(v3 a, float s)
{
    return (v3){a.x * s, a.y * s, a.z * s};
}
static inline v3 v3_tint(v3 a, v3 b)
{
    return (v3){a.x * b.x, a.y * b.y, a.z * b.z};
}
static inline v3 v3_mad(v3 a, v3 b, float s)
{
    return (v3){a.x + b.x * s, a.y + b.y * s, a.z + b.z * s};
}
static inline float v3_dot(v3 a, v3 b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}
static inline v3 v3_cross(v3 a, v3 b)
{
    return (v3){a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
static inline float v3_length(v3 a)
{
    return sqrtf(v3_dot(a, a));
}
static inline v3 v3_unit(v3 a)
{
    float n = v3_length(a);
    return n > 0 ? v3_mul(a, 1.0f / n) : a;
}
static inline v3 v3_mix(v3 a, v3 b, float t)
{
    return v3_mad(v3_mul(a, 1.0f - t), b, t);
}
// fmaxf and fminf without their care for NaN: these compile to one instruction.
static inline float maxf(float a, float b)
{
    return a > b ? a : b;
}
static inline float minf(float a, float b)
{
    return a < b ? a : b;
}
static inline float clampf(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}
// 0 below a, 1 above b, smooth between; a > b runs the other way.
static inline float smoothstepf(float a, float b, float x)
{
    float t = clampf((x - a) / (b - a), 0.0f, 1.0f);
    return t * t * (3.0f - 2.0f * t);
}
