// Scalar math whose bits depend on no libm and no CPU: explicit FMA (exact in software where the CPU has none), Horner
// polynomials in a fixed order. docs/numerics.md has the formulas. The float forms are what the vector kernels reproduce.
#pragma once

namespace raison {

float exp2_f32(
    float x);  // 2^x, relative error below 2.7e-7; x is raised to -100 first (attention's exp2, design in docs/numerics.md)
float exp_f32(float x);    // e^x within 1 ulp on [-87, 88]; 0 below -87, +inf above 88, NaN stays NaN
float log_f32(float x);    // ln x, correctly rounded but for rare ties; -inf at 0, NaN below
double exp_f64(double x);  // within 2 ulp
double log_f64(double x);  // within 2 ulp
// sin and cos of x (radians), absolute error below 1e-15 for |x| <= 2^26 (Cody-Waite in three parts)
void sincos_f64(double x, double* sin_x, double* cos_x);
double pow_f64(double base,
               double exponent);  // base > 0: exp(exponent * ln base), relative error below 1e-14 for results in [1e-30, 1e30]

}  // namespace raison
