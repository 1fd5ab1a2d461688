// Products of one row: TERMS weights times TERMS activations, one register behind their inputs.
//
// A product leaves as two parts whose sum it is: a term, and a carry of weight one. A negative product is its magnitude
// with all bits inverted, and a carry; so no negation costs an adder of its own (the sign goes through the carry inputs
// of the adder tree that follows). Weights that are binary are only selected by here: term = weight ? activation : 0.
module row_products #(
    parameter int KIND = 0,          // 0 binary, 1 fixed point, 2 power of two, 3 elastic significant bits
    parameter int BITS = 1,          // of a weight's code
    parameter int SIGNIFICANT = 0,   // mantissa bits of an elastic code
    parameter int TERMS = 16,
    parameter int OPERAND = 8,       // bits of an activation as a signed number
    parameter int TERM = 8           // bits of a term
) (
    input  wire                     clock,
    input  wire [TERMS*BITS-1:0]    weights,
    input  wire [TERMS*OPERAND-1:0] activations,
    output wire [TERMS*TERM-1:0]    terms,
    output wire [TERMS-1:0]         carries
);
    genvar i;
    generate
        for (i = 0; i < TERMS; i = i + 1) begin : product
            wire [BITS-1:0] code = weights[i*BITS +: BITS];
            wire signed [OPERAND-1:0] activation = activations[i*OPERAND +: OPERAND];
            reg signed [TERM-1:0] term;
            reg carry;

            if (KIND == 0) begin : binary
                always_ff @(posedge clock) begin
                    term <= code[0] ? activation : {TERM{1'b0}};
                    carry <= 1'b0;
                end
            end else if (KIND == 1) begin : fixed
                wire signed [BITS-1:0] weight = code;
                always_ff @(posedge clock) begin
                    term <= weight * activation;
                    carry <= 1'b0;
                end
            end else begin : shifted
                localparam int EXPONENT = BITS - 1 - SIGNIFICANT;
                wire negative = code[BITS-1];
                wire [EXPONENT-1:0] exponent = code[BITS-2 -: EXPONENT];
                wire [EXPONENT-1:0] shift = exponent - 1'b1;
                wire signed [TERM-1:0] magnitude;
                if (SIGNIFICANT == 0) begin : power
                    wire signed [TERM-1:0] wide = activation;
                    assign magnitude = exponent == 0 ? {TERM{1'b0}} : wide <<< shift;
                end else begin : elastic
                    // The leading one of a normal number, none of a subnormal one; both of the latter's shifts are 0.
                    wire signed [SIGNIFICANT+1:0] mantissa = {1'b0, exponent != 0, code[SIGNIFICANT-1:0]};
                    wire signed [OPERAND+SIGNIFICANT:0] scaled = mantissa * activation;
                    wire signed [TERM-1:0] wide = scaled;
                    assign magnitude = exponent == 0 ? wide : wide <<< shift;
                end
                always_ff @(posedge clock) begin
                    term <= magnitude ^ {TERM{negative}};
                    carry <= negative;
                end
            end
            assign terms[i*TERM +: TERM] = term;
            assign carries[i] = carry;
        end
    endgenerate
endmodule
